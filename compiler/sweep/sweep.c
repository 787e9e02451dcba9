/* sweep.c: the command line of `amdimc sweep`, and its work from beginning to end. */
#include "sweep.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: amdimc sweep SPEC.yaml [--pairs LIST ...] [--set KEY=V1,V2 ...] [--data DIR] --out DIR\n"
    "                    [--epochs N] [--limit N] [--holdout SHARE] [--seeds K] [--jobs N] [--run-with "
    "COMMAND]\n";
const char sweep_usage[] =
    "options of sweep, besides --cc and those from --batch to --ranks:\n"
    "  --pairs LIST        a combination to try; again for each, or `each`: every n-to-m of the spec's "
    "scales;\n"
    "                      the spec's own unless given\n"
    "  --set KEY=V1,V2     the values that a key of the spec shall have, as optimizer.adam.lr=1e-4,5e-4 or\n"
    "                      augment.crop.scale=[0.2,1],[0.5,1]; again for each key: all combinations are "
    "tried\n"
    "  --data DIR          as the program's; absent: its built-in pictures\n"
    "  --out DIR           where programs, runs and sweep.csv, .json and .html go; a sweep there goes on\n"
    "  --epochs N          of every run; the spec's unless given\n"
    "  --limit N           the first N images of each class, to train and to probe with\n"
    "  --holdout SHARE     of data without a test split, the share of pictures to probe with, such as 0.1\n"
    "  --seeds K           train each with the seeds 0 to K - 1; 1 unless given\n"
    "  --jobs N            N runs at once, which share the processors unless --threads or --run-with is "
    "given;\n"
    "                      1 unless given\n"
    "  --run-with COMMAND  a command of the shell before each program: nice, 'srun -n1', 'ssh host'; in it "
    "$AMDIMC_JOB\n"
    "                      is the number of the place among the N, from 0\n"
    "  -q, --quiet         nothing but errors and the table in the end\n";

/* ---- the command line ---- */

static bool parse_count(const char *text, int64_t most, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out >= 1 && *out <= most;
}

/* A plain decimal such as 0.1, which programs and JSON read too. */
static bool is_share(const char *text)
{
    return !strncmp(text, "0.", 2) && text[2] && !text[2 + strspn(text + 2, "0123456789")] &&
           strtod(text, NULL) > 0;
}

enum { PAIRS = 256, DATA, OUT, EPOCHS, LIMIT, HOLDOUT, SEEDS, SET, JOBS, RUN_WITH, CC, QUIET, HELP, VERSION };
static const struct option options[] = {
    {"pairs", required_argument, NULL, PAIRS},
    {"data", required_argument, NULL, DATA},
    {"out", required_argument, NULL, OUT},
    {"epochs", required_argument, NULL, EPOCHS},
    {"limit", required_argument, NULL, LIMIT},
    {"holdout", required_argument, NULL, HOLDOUT},
    {"seeds", required_argument, NULL, SEEDS},
    {"set", required_argument, NULL, SET},
    {"jobs", required_argument, NULL, JOBS},
    {"run-with", required_argument, NULL, RUN_WITH},
    {"cc", required_argument, NULL, CC},
    OVERRIDES(OVERRIDE_ROW) /* --batch to --ranks */
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

static int take_count(const char *option, const char *value, int64_t most, int64_t *count)
{
    if (parse_count(value, most, count))
        return GO_ON;
    return usage_error("amdimc: sweep", "--%s %s is not a whole number from 1 to %jd", option, value,
                       (intmax_t)most);
}

static int take_jobs(Sweep *s, const char *value)
{
    int64_t jobs = s->jobs;
    const int code = take_count("jobs", value, CHILDREN, &jobs);
    s->jobs = (int)jobs;
    return code;
}

static int take_holdout(Sweep *s, const char *value)
{
    s->holdout = value;
    return is_share(value)
               ? GO_ON
               : usage_error("amdimc: sweep", "--holdout %s is not a share above 0 and below 1, such as 0.1",
                             value);
}

static int take(Sweep *s, int option, const char *value)
{
    enum { MOST_SEEDS = 1000 };
    switch (option) {
    case OPTION_OPERAND: return option_spec("amdimc: sweep", &s->spec, value);
    case PAIRS: s->list[s->lists++] = value; break;
    case DATA: s->data = value; break;
    case OUT: s->out = value; break;
    case EPOCHS: return take_count("epochs", value, INT32_MAX, &s->epochs);
    case LIMIT: return take_count("limit", value, UINT32_MAX, &s->limit);
    case HOLDOUT: return take_holdout(s, value);
    case SEEDS: return take_count("seeds", value, MOST_SEEDS, &s->seeds);
    case SET: return set_add(s, value);
    case JOBS: return take_jobs(s, value);
    case RUN_WITH: s->run_with = value; break;
    case CC: s->cc = value; break;
    case 'q':
    case QUIET: progress_silence(); break;
    case VERSION: return print_text("amdimc " AMDIMC_VERSION "\n") ? EXIT_DONE : EXIT_FAILED;
    case 'h':
    case HELP:
        return print_text(arena_printf(s->arena, "%s\n%s", synopsis, sweep_usage)) ? EXIT_DONE : EXIT_FAILED;
    default: return override_take(&s->overrides, option, value) ? GO_ON : EXIT_USAGE;
    }
    return GO_ON;
}

/* Of all options together. */
static int check_whole(Sweep *s)
{
    if (!s->spec || !*s->spec)
        return usage_error("amdimc: sweep", "no spec given");
    if (!s->lists && !s->set_options)
        return usage_error("amdimc: sweep",
                           "--pairs is missing, or --set KEY=V1,V2: which combinations shall be tried?");
    if (s->run_with && !s->run_with[strspn(s->run_with, " \t\n")])
        return usage_error("amdimc: sweep",
                           "--run-with names no command; it is put before each run, as nice is");
    if (!s->out || !*s->out)
        return usage_error("amdimc: sweep", "--out is missing: where shall the runs go?");
    return set_check(s);
}

/* What to end with, or GO_ON. */
static int parse(Sweep *s, int argc, char **argv)
{
    OptionReader r = {"amdimc: sweep", argc, argv, "-:hq", options, false};
    int code = GO_ON;
    s->list = ARENA_ARRAY(s->arena, const char *, argc);
    s->set = ARENA_ARRAY(s->arena, SetOption, argc);
    for (int o; code == GO_ON && (o = option_next(&r)) != -1;)
        code = take(s, o, optarg);
    if (code == GO_ON)
        code = check_whole(s);
    if (code == GO_ON)
        s->out = as_operand(s->arena, s->out); /* names in it become values of options */
    s->epochs_given = s->epochs > 0;
    return code;
}

/* ---- the work ---- */

/* The same folder has one name, wherever the sweep is gone on with. */
static bool find_data(Sweep *s)
{
    if (!s->data)
        return true;
    char *path = realpath(s->data, NULL);
    if (!path)
        return system_failed(s->data);
    s->data = arena_copy(s->arena, path, strlen(path));
    free(path);
    return !strchr(s->data, '\n') || build_failed(s->data, "a folder's name with a line break; rename it");
}

/* A command before the programs may take them to another folder, or machine: they are called by whole names.
 */
static bool find_out(Sweep *s)
{
    char *here = s->run_with && *s->out != '/' ? getcwd(NULL, 0) : NULL;
    if (!s->run_with || *s->out == '/')
        return true;
    if (!here)
        return system_failed(".");
    s->out = arena_printf(s->arena, "%s/%s", here, strncmp(s->out, "./", 2) ? s->out : s->out + 2);
    free(here);
    return true;
}

static const char *table_text(const Sweep *s, void (*write)(const Sweep *s, FILE *stream))
{
    TextStream t;
    write(s, text_stream_open(&t));
    return text_stream_close(s->arena, &t);
}

/* What it takes is given back: tables are written after every run. */
static bool write_table(const Sweep *s, const char *name, void (*write)(const Sweep *s, FILE *stream))
{
    Sweep shown = *s;
    shown.arena = arena_new();
    const char *path = arena_printf(shown.arena, "%s/%s", s->out, name);
    bool written = sweep_write_text(path, table_text(&shown, write));
    arena_free(shown.arena);
    return written;
}

static bool write_tables(const Sweep *s)
{
    return write_table(s, "sweep.csv", write_csv) && write_table(s, "sweep.json", write_json) &&
           write_table(s, "sweep.html", write_page);
}

static int say_end(const Sweep *s, const Children *children)
{
    char *page = arena_printf(s->arena, "%s/sweep.html", s->out);
    text_printable(page);
    bool printed = print_text(arena_printf(s->arena, "%s%d of %d runs complete; %s shows them\n",
                                           table_text(s, write_text), sweep_complete(s),
                                           s->combinations * (int)s->seeds, page));
    if (children->signal) {
        say("stopped by a signal; the same command goes on from here");
        return EXIT_SIGNAL + children->signal;
    }
    return printed && !s->failed ? EXIT_DONE : EXIT_FAILED;
}

static int work(Sweep *s)
{
    Children children;
    Fault f;
    if (!folder_may_be_made(s->out, &f))
        return build_fault(&f), EXIT_FAILED;
    if (!find_data(s) || !find_out(s) || !plan_lists(s))
        return EXIT_FAILED;
    if (!s->epochs)
        s->epochs = s->spec_epochs;
    if (!keep_plan(s))
        return EXIT_FAILED;
    keys_read(s);
    signal(SIGPIPE, SIG_IGN); /* it outlives the reader of its progress lines */
    children_watch(&children);
    results_read(s);
    s->busy = true;
    if (!write_tables(s))
        return EXIT_FAILED;
    run_all(s, &children, write_tables);
    s->busy = false;
    if (!write_tables(s))
        return EXIT_FAILED;
    return say_end(s, &children);
}

int sweep(int argc, char **argv)
{
    Sweep s = {.arena = arena_new(), .seeds = 1, .jobs = 1};
    int code = parse(&s, argc, argv);
    if (code == GO_ON)
        code = work(&s);
    arena_free(s.arena);
    return code;
}
