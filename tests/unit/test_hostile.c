/* test_hostile.c: the compiler as it is started by mistake: on files that are none, with options that there
 * are not, onto its own inputs, without standard streams, on a full disk, and killed while it works. */
#include "samples.h"
#include "shell.h"
#include "tensor_file.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOT_LOADED = 127 };
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED true
#elif defined __has_feature
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif
static char folder[256];

/* ---- helpers ---- */

/* Runs commands in the scratch folder, where `amdimc` is the compiler, spec.yaml a spec; what is said goes
 * to `said`.
 */
static int run(const char *commands)
{
    return shell("cd %s && amdimc() { \"$HOSTILE\" \"$@\"; } && { %s; } 2>said", folder, commands);
}

static void expect_said(const char *what)
{
    char *said = tensor_file_read(scratch_path("said")).bytes;
    if (!strstr(said, what))
        fail_msg("no \"%s\" in:\n%s", what, said);
    free(said);
}

static void expect(const char *commands, int code, const char *said)
{
    int is = run(commands);
    if (is != code) {
        char *all = tensor_file_read(scratch_path("said")).bytes;
        fail_msg("%s: exit %d, not %d:\n%s", commands, is, code, all);
    }
    if (said)
        expect_said(said);
}

/* A compiler for --cc, in the scratch folder. */
static void write_compiler(const char *name, const char *commands)
{
    char text[2048];
    int length = snprintf(text, sizeof text,
                          "#!/bin/sh\n"
                          "for word; do [ \"$last\" = -o ] && out=$word; last=$word; done\n%s\n",
                          commands);
    assert_in_range(length, 1, sizeof text - 1);
    scratch_write(name, text, (size_t)length);
    assert_int_equal(shell("chmod +x %s", scratch_path(name)), 0);
}

/* ---- the command line ---- */

static void wrong_options_are_named_as_typed(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *said;
    } wrong[] = {
        {"spec.yaml -o p -Wall", "amdimc: unknown option -Wall;"},
        {"-dash.yaml -o p", "amdimc: unknown option -dash.yaml; a file of that name is written ./ in front;"},
        {"sweep spec.yaml -Wall", "amdimc: sweep: unknown option -Wall;"},
        {"sweep -dash.yaml", "amdimc: sweep: unknown option -dash.yaml;"},
        {"--check spec.yaml -xo", "unknown option -xo;"},
        {"spec.yaml --bad=x", "unknown option --bad=x;"},
        {"spec.yaml --bad spec.yaml", "unknown option --bad;"},
        {"--expl spec.yaml", "unknown option --expl;"},
        {"--p spec.yaml", "unknown option --p;"},
        {"--check=yes spec.yaml", "--check takes no value;"},
        {"spec.yaml -o", "-o wants a value;"},
        {"spec.yaml --cc", "--cc wants a value;"},
        {"sweep spec.yaml --data", "--data wants a value;"},
        {"--batch --check spec.yaml", "--batch wants a value;"},
        {"spec.yaml -o --gen-dir g", "-o wants a value;"},
        {"sweep spec.yaml --data --jobs=2", "--data wants a value;"},
        {"--check spec.yaml --pairs 1-to-5 --pairs 1-to-7", "--pairs is given twice;"},
        {"--check spec.yaml other.yaml", "other.yaml is one too many;"},
        {"--check -- spec.yaml other.yaml", "other.yaml is one too many;"},
        {"--check", "no spec given;"},
        {"--check ''", "no spec given;"},
        {"spec.yaml -o ''", "-o is missing"},
        {"spec.yaml -o -", "-o - is standard output, where no program can go;"},
        {"--emit=library spec.yaml -o -", "-o - is standard output, where no C can go;"},
        {"--tune spec.yaml -o -", "-o - is standard output, where no choices can go;"},
        {"--", "no spec given;"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char command[256];
        snprintf(command, sizeof command, "amdimc %s", wrong[i].arguments);
        expect(command, 2, wrong[i].said);
    }
}

static void a_spec_may_begin_with_a_dash(void **state)
{
    (void)state;
    expect("amdimc --check -- -dash.yaml && amdimc --check ./-dash.yaml && cp spec.yaml @at.yaml && amdimc "
           "--check @at.yaml",
           0, NULL);
}

/* ---- inputs ---- */

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *said;
    } refused[] = {
        {"fifo", "fifo: cannot be read: it is a FIFO, not a file"},
        {"link", "link: cannot be read: it is a FIFO, not a file"},
        {"/dev/zero", "/dev/zero: cannot be read: it is a device, not a file"},
        {"socket", "socket: cannot be read: it is a socket, not a file"},
        {".", ".: cannot be read: Is a directory"},
        {"huge", "huge:1:1: error: the file is larger than 1 MiB"},
    };
    assert_int_equal(run("mkfifo fifo && ln -s fifo link && truncate -s 10G huge"), 0);
    bool sockets = !run("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char command[640];
        snprintf(command, sizeof command, "timeout 5 \"$HOSTILE\" --check %s", refused[i].path);
        if (strcmp(refused[i].path, "socket") || sockets)
            expect(command, 1, refused[i].said);
    }
    expect("timeout 5 \"$HOSTILE\" sweep fifo --pairs 5-to-5 --out o", 1,
           "fifo: cannot be read: it is a FIFO");
}

static void what_somebody_writes_is_read(void **state)
{
    (void)state;
    expect("cat spec.yaml | amdimc --check /dev/stdin && amdimc --check /dev/stdin <spec.yaml && "
           "{ head -c 20 spec.yaml; sleep 0.2; tail -c +21 spec.yaml; } | amdimc --check /dev/fd/0",
           0, NULL);
    expect("bash -c '\"$HOSTILE\" --check <(cat spec.yaml)'", 0, NULL);
    expect("yes | amdimc --check /dev/stdin", 1, "larger than 1 MiB");
}

/* ---- outputs ---- */

static void an_output_is_never_an_input(void **state)
{
    (void)state;
    static const char *const outputs[] = {"spec.yaml",
                                          "./spec.yaml",
                                          "../$(basename $PWD)/spec.yaml",
                                          "hard",
                                          "soft",
                                          "--emit=pytorch -o spec.yaml",
                                          "--emit=ir -o spec.yaml",
                                          "--emit=pytorch -o hard"};
    assert_int_equal(run("cp spec.yaml kept && ln spec.yaml hard && ln -s spec.yaml soft"), 0);
    write_compiler("counting", "echo >>compiled; exit 1");
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        char command[512];
        snprintf(command, sizeof command, "amdimc spec.yaml --cc ./counting %s %s",
                 *outputs[i] == '-' ? "" : "-o", outputs[i]);
        expect(command, 1, "is the spec itself; give the output another name");
    }
    expect("amdimc /dev/stdin <spec.yaml --cc ./counting -o spec.yaml", 1, "is the spec itself");
    expect("mkdir d && cp spec.yaml d/tiny.c && amdimc d/tiny.c -o p --gen-dir d --cc ./counting", 1,
           "d/tiny.c: is the spec itself");
    expect("cmp spec.yaml d/tiny.c && ln -s ../spec.yaml d/kernels.h && rm d/tiny.c", 0, NULL);
    expect("amdimc spec.yaml -o p --gen-dir d --cc ./counting", 1, "d/kernels.h: is the spec itself");
    expect("mkdir m && echo mine >m/kernels.h && amdimc spec.yaml -o p --gen-dir m --cc ./counting", 1,
           "m/kernels.h: there already, and not by amdimc; choose another --gen-dir");
    expect("mv m/kernels.h m/tiny.c && amdimc spec.yaml -o p --gen-dir m --cc ./counting", 1,
           "m/tiny.c: there already, and not by amdimc");
    expect("test \"$(ls m)\" = tiny.c && grep -qx mine m/tiny.c", 0, NULL);
    expect("amdimc spec.yaml -o g/tiny.c --gen-dir g --cc ./counting", 1, "is a file of the generated C");
    expect("amdimc spec.yaml -o counting --gen-dir g --cc ./counting", 1, "is a part of the compiler");
    expect("amdimc spec.yaml -o d --gen-dir g --cc ./counting", 1, "is a directory; name a file in it");
    expect("amdimc spec.yaml -o none/p --gen-dir g --cc ./counting", 1,
           "none/p: no file can be made in its directory: No such file or directory;");
    expect("sed 's/^name: .*/name: math/' spec.yaml >math.yaml; amdimc --emit=library math.yaml -o l", 1,
           "math.yaml:2:7: error: math.py would hide Python's module `math`");
    expect("sed 's/^name: .*/name: m/' spec.yaml >m.yaml; amdimc --emit=library m.yaml -o l; test $? = 1 -a "
           "! -e l",
           0, "m.yaml:2:7: error: libm would hide the system's own");
    expect("sed 's/^name: .*/name: adam/' spec.yaml >adam.yaml; amdimc --emit=library adam.yaml -o l", 1,
           "adam.yaml:2:7: error: a library has names that begin with `adam_` inside");
    expect("sed 's/^name: .*/name: makefile/' spec.yaml >mk.yaml; amdimc --emit=c mk.yaml -o l; test $? = 1 "
           "-a ! -e l",
           0, "mk.yaml:2:7: error: a folder of C has a `makefile` of its own");
    expect("amdimc --emit=c spec.yaml -o spec.yaml", 1, "spec.yaml");
    expect("mkdir f && ln -s ../spec.yaml f/model.h && amdimc --emit=c spec.yaml -o f", 1,
           "f/model.h: is the spec itself");
    expect("mkdir o && cp spec.yaml o/plan && amdimc sweep o/plan --pairs 5-to-5 --out o", 1,
           "o/plan: is the spec itself");
    expect(
        "cmp spec.yaml kept && cmp spec.yaml o/plan && test ! -e compiled && test \"$(ls -A f)\" = model.h",
        0, NULL);
}

static void a_folder_may_hold_its_spec(void **state)
{
    (void)state;
    expect("mkdir own && printf '\\357\\273\\277' | cat - spec.yaml >own/tiny.yaml && cp own/tiny.yaml "
           "own/kept && "
           "amdimc --emit=c own/tiny.yaml -o own && cmp own/kept own/tiny.yaml && test -e own/Makefile && "
           "amdimc --emit=c own/tiny.yaml -o own/ && test ! -e own/.amdimc-tmp",
           0, NULL);
}

static void a_failed_compiler_leaves_what_was_there(void **state)
{
    (void)state;
    static const char *const failing[] = {"exit 1", "echo torn >\"$out\"; exit 1", "rm -f \"$out\"; exit 0",
                                          ": >\"$out\"; exit 0", "echo torn >\"$out\"; kill -9 $$"};
    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
        write_compiler("failing", failing[i]);
        expect(
            "rm -rf w && mkdir w && echo before >w/p && amdimc spec.yaml -o w/p --gen-dir g --cc ./failing",
            1, NULL);
        expect("test \"$(cat w/p)\" = before && test \"$(ls -A w)\" = p && test -z \"$(ls g | grep linked)\"",
               0, NULL);
        expect("rm w/p && ! amdimc spec.yaml -o w/p --gen-dir g --cc ./failing && test -z \"$(ls -A w)\"", 0,
               NULL);
    }
    expect("amdimc spec.yaml -o w/p --gen-dir g --cc ./no-such-compiler", 1,
           "./no-such-compiler: not found;");
    expect("amdimc spec.yaml -o w/p --gen-dir g --cc ./spec.yaml", 1, "./spec.yaml: cannot be run;");
}

static void a_program_takes_the_place_of_another(void **state)
{
    (void)state;
    write_compiler("working", "printf 'echo made\\n' >\"$out\"; chmod +x \"$out\"");
    expect("amdimc spec.yaml -o new --gen-dir g --cc ./working && test \"$(sh ./new)\" = made && test -x new",
           0, NULL);
    expect(
        "echo old >private && chmod 600 private && amdimc spec.yaml -o private --gen-dir g --cc ./working && "
        "test \"$(stat -c %a private)\" = 700",
        0, NULL);
    expect(
        "echo old >behind && ln -s behind before && amdimc spec.yaml -o before --gen-dir g --cc ./working && "
        "test -L before && grep -q made behind",
        0, NULL);
    expect("amdimc spec.yaml -o /dev/stdout --gen-dir g --cc ./working >piped && grep -q made piped", 0,
           NULL);
    expect("amdimc spec.yaml -o @file --gen-dir @g --cc ./working && amdimc spec.yaml -o -x --gen-dir -g "
           "--cc ./working && "
           "sh ./@file && sh ./-x && test -e ./@g/tiny.c && test -e ./-g/tiny.c",
           0, NULL);
}

/* What begins with a @ or a - is no option of the compiler's. */
static void no_name_is_an_option_of_clangs(void **state)
{
    (void)state;
    write_compiler(
        "@cc", "for word; do case $word in @*) exit 1 ;; -g* | -x*) exit 1 ;; esac; done; echo p >\"$out\"");
    expect(
        "amdimc spec.yaml -o @file --gen-dir @g --cc ./@cc && amdimc spec.yaml -o -x --gen-dir -g --cc ./@cc",
        0, NULL);
}

/* ---- standard streams ---- */

static void results_that_do_not_arrive_are_an_error(void **state)
{
    (void)state;
    static const char *const all[] = {
        "--help",      "--version", "--explain spec.yaml", "--explain=json spec.yaml", "--emit=ir spec.yaml",
        "sweep --help"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char command[128];
        snprintf(command, sizeof command, "amdimc %s >/dev/full", all[i]);
        expect(command, 1, "standard output: No space left on device");
        snprintf(command, sizeof command, "amdimc %s >&-", all[i]);
        expect(command, 1, "standard output: Bad file descriptor");
        snprintf(command, sizeof command, "amdimc %s <&- >out", all[i]);
        expect(command, 0, NULL);
    }
    expect("amdimc --emit=ir --batch 0 spec.yaml >out", 1, "--batch");
    expect("amdimc --emit=ir spec.yaml >out && amdimc --emit=ir spec.yaml -o file && cmp out file && "
           "amdimc --explain spec.yaml -o told && grep -q parameters told",
           0, NULL);
}

static void a_dash_is_standard_output(void **state)
{
    (void)state;
    static const char *const all[] = {"--emit=ir", "--explain", "--explain=json", "--emit=pytorch"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char command[256];
        snprintf(command, sizeof command,
                 "amdimc %s spec.yaml -o file && amdimc %s spec.yaml -o - | cmp - file && test ! -e ./-",
                 all[i], all[i]);
        expect(command, 0, NULL);
    }
}

static void messages_never_go_into_files(void **state)
{
    (void)state;
    expect("mkdir s && amdimc spec.yaml --cc ./working -o s/p --gen-dir s/g <&- >&- 2>&-; test $? = 0 && "
           "printf 'echo made\\n' | cmp - s/p && ! grep -rl 'operations a step' s",
           0, NULL);
    expect("amdimc --emit=pytorch spec.yaml -o s/t.py 2>&- >&- && amdimc --emit=pytorch spec.yaml -o t.py && "
           "cmp t.py s/t.py",
           0, NULL);
}

static void no_control_characters_are_shown(void **state)
{
    (void)state;
    static const char *const names[] = {"a\\033[31m.yaml", "b\\342\\200\\256lmay.yaml", "c\\377.yaml",
                                        "d\\302\\233m.yaml"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char commands[1024];
        snprintf(
            commands, sizeof commands,
            "name=$(printf '%s'); cp spec.yaml \"$name\"; { amdimc --check \"$name/none\"; amdimc --check "
            "\"$name\" --batch 0; "
            "amdimc -\"$name\"; amdimc spec.yaml --emit=\"$name\"; amdimc \"$name\" -o \"$name\"; "
            "amdimc spec.yaml -o \"none/$name/p\"; amdimc --emit=ir \"$name\"; amdimc --explain \"$name\"; "
            "amdimc --check spec.yaml --march \"$name\"; amdimc --explain spec.yaml --march \"$name\"; "
            "amdimc spec.yaml --cc \"./$name\" -o q --gen-dir \"$name.c\"; amdimc spec.yaml --target "
            "\"$name\" -o q; "
            "amdimc sweep \"$name\" --pairs \"$name\" --out \"$name.out\"; } >shown 2>&1; "
            "test -s shown && ! LC_ALL=C grep -P "
            "'[\\x00-\\x08\\x0b-\\x1f\\x7f\\xff]|\\xe2\\x80\\xae|\\xc2\\x9b' shown",
            names[i]);
        expect(commands, 0, NULL);
    }
}

/* ---- killed at work ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Whether that command becomes true within some seconds. */
static bool becomes(const char *command)
{
    for (double end = seconds() + 10; seconds() < end; usleep(20000))
        if (!run(command))
            return true;
    return false;
}

/* Starts amdimc in the scratch folder, in a group of its own. */
static pid_t start(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && exec \"$HOSTILE\" %s 2>started", folder, arguments);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    return child;
}

/* A compiler that has started another one, which does not end by itself; `numbers` has the processes'. */
static void write_endless_compiler(void)
{
    write_compiler("endless", "(trap '' TERM; echo $$ >>numbers; sh -c 'echo $$ >>numbers; echo "
                              "ready >ready; sleep 60; echo late >\"$0\"' "
                              "\"$out\") & echo torn >\"$out\"; wait");
}

/* Zombies are gone: whoever is their parent by now may not ask for them. */
static const char all_gone[] =
    "for n in $(cat numbers); do ! kill -0 $n || grep -q '^State:.Z' /proc/$n/status || "
    "exit 1; done";

static void expect_ends_with_all_it_started(int signal_number)
{
    expect("rm -rf k numbers ready && mkdir k && echo before >k/p", 0, NULL);
    pid_t child = start("spec.yaml -o k/p --gen-dir k/g --cc ./endless");
    assert_true(becomes("test -e ready"));
    kill(child, signal_number);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
    assert_true(becomes(all_gone));
    expect("test \"$(cat k/p)\" = before && test \"$(ls k)\" = \"$(printf 'g\\np')\" && test ! -e "
           "k/g/.tiny.amdimc-linked",
           0, NULL);
    expect("amdimc spec.yaml -o k/p --gen-dir k/g --cc ./working && grep -q made k/p && test ! -e "
           "k/g/.tiny.amdimc-linked",
           0, NULL);
}

static void a_compiler_ends_with_what_started_it(void **state)
{
    (void)state;
    write_endless_compiler();
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        expect_ends_with_all_it_started(signals[i]);
}

static void a_killed_sweep_leaves_nothing_running(void **state)
{
    (void)state;
    expect("rm -rf numbers ready", 0, NULL);
    pid_t child = start("sweep spec.yaml --pairs 5-to-5 --out sw --cc ./endless");
    assert_true(becomes("test -e ready"));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(becomes(all_gone));
    expect("test ! -e sw/5-to-5/program", 0, NULL);
    expect("amdimc sweep spec.yaml --pairs 5-to-5 --out sw --cc ./failing", 1, "could not be compiled");
}

/* Until a program of a killed sweep has saved and ended, the next sweep waits. */
static void a_sweep_waits_for_a_killed_ones_program(void **state)
{
    (void)state;
    static const char training[] =
        "cat >\"$out\" <<'END'\n#!/bin/sh\n"
        "if [ $1 = train ] && [ ! -e trained ]; then trap 'sleep 0.5; echo saved >trained; exit 143' TERM\n"
        "echo ready >ready; while :; do sleep 0.05; done; fi\n"
        "[ $1 != train ] || cp trained second\n"
        "echo '{\"accuracy\": 0.5, \"low\": 0.4, \"high\": 0.6, \"images\": 9}'\nEND\nchmod +x \"$out\"";
    write_compiler("training", training);
    expect("rm -f ready", 0, NULL);
    pid_t child = start("sweep spec.yaml --pairs 5-to-5 --out sw2 --cc ./training");
    assert_true(becomes("test -e ready"));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    expect("amdimc sweep spec.yaml --pairs 5-to-5 --out sw2 --cc ./training", 1, "waiting for it to save");
    expect("grep -q saved second", 0, NULL);
}

/* Runs at once, by a command that neither hands signals on nor waits for what it runs when it is told to end.
 * Every program saves, once; then nothing is left. */
static void a_killed_sweep_ends_what_commands_run(void **state)
{
    (void)state;
    static const char training[] =
        "cat >\"$out\" <<'END'\n#!/bin/sh\n"
        "if [ $1 = train ]; then echo $$ >>numbers; trap 'echo told >>told; sleep 0.3; echo saved >>saved; "
        "exit "
        "143' TERM INT HUP\n"
        "echo ready >>ready; while :; do sleep 0.05; done; fi\n"
        "echo '{\"accuracy\": 0.5, \"low\": 0.4, \"high\": 0.6, \"images\": 9}'\nEND\nchmod +x \"$out\"";
    static const int signals[] = {SIGKILL, SIGTERM, SIGHUP};
    write_compiler("training2", training);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        expect("rm -rf sw3 numbers ready told saved", 0, NULL);
        pid_t child = start("sweep spec.yaml --set batch=2,4 --jobs 2 --out sw3 --cc ./training2 "
                            "--run-with 'sh -c '\\''echo $$ >>numbers; \"$@\"; :'\\'' sh'");
        assert_true(becomes("test $(wc -l <ready) = 2"));
        kill(child, signals[i]);
        waitpid(child, NULL, 0);
        if (signals[i] != SIGKILL) /* it has waited for them */
            expect(all_gone, 0, NULL);
        assert_true(becomes(all_gone));
        expect("test $(wc -l <saved) = 2 && test $(wc -l <told) = 2", 0, NULL);
    }
}

/* ---- memory ---- */

static void without_memory_there_is_one_line(void **state)
{
    (void)state;
    char command[512];
    if (SANITIZED) /* takes more address space than there is then */
        skip();
    int code = NOT_LOADED; /* how much the loader needs depends on the system */
    for (int kib = 3000; kib < 20000 && code == NOT_LOADED; kib += 50) {
        snprintf(command, sizeof command, "(ulimit -v %d; amdimc --explain=json big.yaml >shown)", kib);
        code = run(command);
    }
    assert_int_equal(code, 1);
    expect_said("amdimc: error: out of memory;");
    char *said = tensor_file_read(scratch_path("said")).bytes;
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    free(said);
}

static int set_up(void **state)
{
    (void)state;
    char *path = realpath(amdimc_path(), NULL);
    if (!path)
        return 1;
    setenv("HOSTILE", path, 1); /* its folder may have any name */
    free(path);
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    return shell("cd %s && cp \"$OLDPWD/specs/tiny.yaml\" spec.yaml && cp spec.yaml ./-dash.yaml && cp "
                 "spec.yaml other.yaml && cp \"$OLDPWD/specs/imagenet-paper.yaml\" big.yaml",
                 folder);
}

/* Children of whoever was in this process before, a SIGCHLD that was ignored. */
static void a_process_that_was_another_s(void **state)
{
    (void)state;
    write_endless_compiler();
    expect("sh -c '(sleep 0.1 &) ; sleep 0.2 & exec \"$HOSTILE\" spec.yaml -o c1 --gen-dir g1 --cc "
           "./working' && "
           "grep -q made c1",
           0, NULL);
    expect(
        "timeout 20 sh -c 'trap \"\" CHLD; exec \"$HOSTILE\" spec.yaml -o c2 --gen-dir g2 --cc ./working' && "
        "grep -q made c2",
        0, NULL);
}

static void a_file_that_grows_too_large(void **state)
{
    (void)state;
    expect("echo before >large.py; (ulimit -f 8; exec \"$HOSTILE\" --emit=pytorch spec.yaml -o large.py)", 1,
           "cannot write large.py: File too large");
    expect("test \"$(cat large.py)\" = before && test -z \"$(ls -A | grep -e '-tmp')\"", 0, NULL);
}

static void files_of_others_stay(void **state)
{
    (void)state;
    write_endless_compiler();
    expect("echo mine >q.tmp; amdimc spec.yaml -o q --gen-dir g3 --cc ./working && grep -q mine q.tmp", 0,
           NULL);
    expect("cp spec.yaml sp.tmp; amdimc sp.tmp -o sp --gen-dir g3 --cc ./working && cmp spec.yaml sp.tmp", 0,
           NULL);
    expect("mkdir -p em/runtime; echo mine >em/kernels.h; amdimc --emit=c spec.yaml -o em", 1,
           "there already, and not by amdimc; choose a folder of its own");
    expect("grep -q mine em/kernels.h && test ! -e em/Makefile", 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_options_are_named_as_typed),
        cmocka_unit_test(a_spec_may_begin_with_a_dash),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(what_somebody_writes_is_read),
        cmocka_unit_test(an_output_is_never_an_input),
        cmocka_unit_test(a_folder_may_hold_its_spec),
        cmocka_unit_test(a_failed_compiler_leaves_what_was_there),
        cmocka_unit_test(a_program_takes_the_place_of_another),
        cmocka_unit_test(no_name_is_an_option_of_clangs),
        cmocka_unit_test(results_that_do_not_arrive_are_an_error),
        cmocka_unit_test(a_dash_is_standard_output),
        cmocka_unit_test(messages_never_go_into_files),
        cmocka_unit_test(no_control_characters_are_shown),
        cmocka_unit_test(a_compiler_ends_with_what_started_it),
        cmocka_unit_test(a_killed_sweep_leaves_nothing_running),
        cmocka_unit_test(a_sweep_waits_for_a_killed_ones_program),
        cmocka_unit_test(a_killed_sweep_ends_what_commands_run),
        cmocka_unit_test(without_memory_there_is_one_line),
        cmocka_unit_test(a_process_that_was_another_s),
        cmocka_unit_test(a_file_that_grows_too_large),
        cmocka_unit_test(files_of_others_stay),
    };
    return cmocka_run_group_tests_name("hostile", tests, set_up, scratch_tear_down);
}
