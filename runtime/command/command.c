/* command.c: the program's main: parses, runs the command, prints the one line of a failure.
 *
 * Exit codes: 0 done; 1 failed; 2 usage; 128 + the signal after one that ends the program, 75 after SIGUSR2.
 */
#include "processor.h"
#include "runtime.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DONE = 0, FAILED = 1, USAGE = 2 };

typedef struct {
    const char *name;
    int (*run)(const AmdimModel *m, const Options *o, Fault *f);
} Command;

static const Command commands[] = {
    {"train", command_train},         {"probe", command_probe}, {"encode", command_encode},
    {"replay", command_replay},       {"views", command_views}, {"bench", command_bench},
    {"selfcheck", command_selfcheck}, {"info", command_info},   {"check", command_check},
};

static bool spares_data(const Options *o, Fault *f)
{
    if (!o->data)
        return true;
    char *labels = strcmp(o->command, "encode") == 0 ? npy_labels_path(o->out) : NULL;
    const char *hit = data_has_file(o->data, o->out)             ? o->out
                      : labels && data_has_file(o->data, labels) ? labels
                                                                 : NULL;
    if (hit)
        fault(f, "%s: %s is there already, and of --data: it would be written over; choose another name",
              o->command, hit);
    free(labels);
    return !hit;
}

/* No command destroys what it reads, or what a run under way has written. */
static bool may_write(const Options *o, Fault *f)
{
    if (!o->out)
        return true;
    if (strcmp(o->command, "train") == 0)
        return folder_may_be_made(o->out, f);
    if (file_is_same(o->out, o->weights) || file_is_same(o->out, o->batch))
        return fault(f, "%s: %s would be read and written over; choose another name for what is written",
                     o->command, o->out);
    return spares_data(o, f) && file_may_be_made(o->out, f) && run_may_be_written(o->out, f);
}

/* What is no command. */
static int print_asked(const AmdimModel *m, const Options *o, const char *program)
{
    if (o->help)
        options_usage(m, program, o->command, stdout);
    else if (o->version)
        say_line(stdout, "%s (%s, compiled by %s)", program, m->name, m->compiler);
    else
        options_completion(program, stdout);
    return DONE;
}

/* Whoever names a run has its weights in mind. */
static bool names_weights(const Options *o, Fault *f)
{
    struct stat found;
    if (!o->weights || stat(o->weights, &found) != 0 || !S_ISDIR(found.st_mode))
        return true;
    char *last = path_join(o->weights, "last.safetensors");
    bool is_run = last && stat(last, &found) == 0;
    if (is_run)
        fault(f, "--weights %s is a folder; did you mean %s?", o->weights, last);
    free(last);
    return !is_run;
}

static int run_command(const AmdimModel *m, const Options *o, Fault *f)
{
    int code = FAILED;
    if (!may_write(o, f) || !names_weights(o, f))
        return FAILED;
    decoding_allow(m);
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(commands[i].name, o->command) == 0)
            code = commands[i].run(m, o, f);
    return code;
}

/* What was printed has arrived. */
static bool printed(Fault *f)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    return errno != 0 ? fault_errno(f, "cannot write the standard output")
                      : fault(f, "the standard output could not be written");
}

int main(int argc, char **argv)
{
    const AmdimModel *m = &amdim_model;
    Options options;
    Fault failure = {.error = 0};
    int code = USAGE;

    standard_streams_open();
    if (m->openblas_core)
        processor_begin_again_for_openblas(m->openblas_core(), argv);
    if (argc > 0)
        text_printable(argv[0]);
    const char *program = options_program(argc, argv);
    if (argc < 2) {
        options_usage(m, program, NULL, stderr);
        return USAGE;
    }
    if (options_parse(&options, m, argc, argv, &failure)) {
        bool asked = options.help || options.version || options.completion;
        if (options.quiet)
            progress_silence();
        code = asked ? print_asked(m, &options, program) : run_command(m, &options, &failure);
    }
    if (code == DONE && !printed(&failure))
        code = FAILED;
    (void)fflush(stdout); /* what was printed comes first, where both go to one place */
    if (code != DONE && failure.text[0] != '\0')
        say_line(stderr, "%s%s: error: %s", company_name(), program, failure.text);
    company_end(code);
    return code;
}
