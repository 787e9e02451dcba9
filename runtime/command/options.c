/* options.c: the command line, from two tables: the commands, and the options with the commands that take
 * them.
 *
 * What is wrong is said in words together with how to see the usage; nothing is printed here but the usage
 * itself. Whether files exist or a scale is there is the commands' business. */
#include "runtime.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    TRAIN = 1,
    PROBE = 2,
    ENCODE = 4,
    REPLAY = 8,
    VIEWS = 16,
    BENCH = 32,
    INFO = 64,
    SELFCHECK = 128,
    CHECK = 256,
    ALL = 511
} CommandBit;

typedef struct {
    const char *name;
    CommandBit bit;
    const char *says;
} CommandRow;

static const CommandRow commands[] = {
    {"train", TRAIN, "trains the encoder; writes weights, metrics and a report"},
    {"check", CHECK, "reads every picture once and lists what is wrong with the data"},
    {"probe", PROBE, "accuracy of a classifier on the frozen features f_1"},
    {"encode", ENCODE, "writes the features of a split as .npy, with their labels"},
    {"replay", REPLAY, "one step's losses and gradients on given tensors; nothing is updated"},
    {"views", VIEWS, "writes the views of the first training images as training sees them"},
    {"bench", BENCH, "speed and memory of full training steps on made-up input"},
    {"selfcheck", SELFCHECK, "checks gradients and repeatability on this machine, in under a minute"},
    {"info", INFO, "what the program was compiled from"},
};

typedef enum {
    TEXT,   /* const char * */
    NUMBER, /* int64_t */
    SMALL,  /* int */
    SEED,   /* uint64_t */
    TIME,   /* int64_t, of seconds */
    RATE,   /* double, above 0 */
    SHARE,  /* double, between 0 and 1 */
    FLAG,   /* bool, without a value */
} Kind;

typedef struct {
    const char *name, *value; /* value: what the usage calls it */
    Kind kind;
    size_t field;          /* offset in Options */
    unsigned takes, needs; /* CommandBits */
    uint64_t low, high;    /* of a number */
    const char *says;
} OptionRow;

#define FIELD(name) offsetof(Options, name)

static const OptionRow options[] = {
    {"--data", "DIR", TEXT, FIELD(data), TRAIN | PROBE | ENCODE | VIEWS | CHECK, CHECK, 0, 0,
     "CIFAR, STL-10, IDX, NumPy or tar files, or folders of pictures (docs/program.md); absent: built-in "
     "pictures"},
    {"--out", "RUN", TEXT, FIELD(out), TRAIN, TRAIN, 0, 0, "folder of the run"},
    {"--weights", "FILE", TEXT, FIELD(weights), PROBE | ENCODE | REPLAY, REPLAY, 0, 0,
     "safetensors, such as RUN/last.safetensors"},
    {"--weights", "FILE", TEXT, FIELD(weights), TRAIN, 0, 0, 0,
     "begin with what of these weights fits by name and shape"},
    {"--untrained", NULL, FLAG, FIELD(untrained), PROBE, 0, 0, 0,
     "instead of --weights: the initial weights"},
    {"--pixels", NULL, FLAG, FIELD(pixels), PROBE | ENCODE, 0, 0, 0,
     "instead of --weights: no encoder, the raw pixels"},
    {"--batch", "FILE", TEXT, FIELD(batch), REPLAY, REPLAY, 0, 0,
     "safetensors with x.1, x.2 and loc.n-to-m.v"},
    {"--head", "linear|mlp|knn", TEXT, FIELD(head), PROBE, 0, 0, 0, "the classifier; linear unless given"},
    {"--scale", "D", SMALL, FIELD(scale), ENCODE, 0, 1, 65536, "the embedding phi_D in place of f_1"},
    {"--raw", NULL, FLAG, FIELD(raw), ENCODE, 0, 0, 0, "with --scale, the features f_D themselves"},
    {"--split", "train|test", TEXT, FIELD(split), ENCODE, 0, 0, 0, "test unless given"},
    {"--labels", "fine|coarse", TEXT, FIELD(labels), PROBE | ENCODE, 0, 0, 0,
     "which of CIFAR-100's; fine unless given"},
    {"--epochs", "N", NUMBER, FIELD(epochs), TRAIN, 0, 0, INT64_MAX,
     "epochs from the run's first beginning; the spec's unless given"},
    {"--steps", "N", NUMBER, FIELD(steps), TRAIN, 0, 0, INT64_MAX,
     "at most so many steps from the run's first beginning"},
    {"--steps", "N", NUMBER, FIELD(steps), BENCH, 0, 1, 1000000, "steps to measure; 20 unless given"},
    {"--limit", "N", NUMBER, FIELD(limit), TRAIN | PROBE, 0, 1, UINT32_MAX,
     "the first N images of each class of the training split"},
    {"--limit", "N", NUMBER, FIELD(limit), ENCODE, 0, 1, UINT32_MAX,
     "the first N images of each class of the split"},
    {"--count", "N", NUMBER, FIELD(count), VIEWS, 0, 1, UINT32_MAX, "images; 64 unless given"},
    {"--seed", "S", SEED, FIELD(seed), TRAIN | PROBE | VIEWS | BENCH, 0, 0, UINT64_MAX,
     "of everything drawn at random; 0 unless given"},
    {"--holdout", "SHARE", SHARE, FIELD(holdout), TRAIN | PROBE | ENCODE | VIEWS, 0, 0, 0,
     "of data without a test split, the share of pictures that becomes one"},
    {"--resume", NULL, FLAG, FIELD(resume), TRAIN, 0, 0, 0,
     "go on from RUN/last.safetensors where there is one"},
    {"--lr", "X", RATE, FIELD(lr), TRAIN, 0, 0, 0, "the base rate from here on, in place of the spec's"},
    {"--checkpoint-every", "N", NUMBER, FIELD(checkpoint_every), TRAIN, 0, 1, INT64_MAX,
     "save after every N-th step, besides at an epoch's end and every five minutes"},
    {"--on-nan", "stop|skip", TEXT, FIELD(on_nan), TRAIN, 0, 0, 0,
     "a step whose loss is not finite ends the run, or is left out; stop unless given"},
    {"--probe-every", "N", NUMBER, FIELD(probe_every), TRAIN, 0, 1, UINT32_MAX,
     "a linear probe after every N-th epoch and at the end"},
    {"--probe-heads", "linear,knn", TEXT, FIELD(probe_heads), TRAIN, 0, 0, 0,
     "with --probe-every, which probes, one or both; linear unless given"},
    {"--stop-after", "TIME", TIME, FIELD(stop_after), TRAIN, 0, 1, UINT32_MAX,
     "save and end after 90s, 30m, 8h or 1h30m; --resume goes on"},
    {"--nice", NULL, FLAG, FIELD(nice), TRAIN, 0, 0, 0, "run only when nobody else wants the processor"},
    {"--threads", "T", SMALL, FIELD(threads),
     TRAIN | PROBE | ENCODE | REPLAY | VIEWS | BENCH | SELFCHECK | CHECK, 0, 1, 1024,
     "the spec's unless given; results do not depend on it"},
    {"--profile", NULL, FLAG, FIELD(profile), BENCH, 0, 0, 0,
     "every operation's kernel, time, rate and share of the step"},
    {"--json", NULL, FLAG, FIELD(json), PROBE | BENCH | INFO, 0, 0, 0,
     "one JSON object on one line, alone on standard output"},
    {"--quiet", NULL, FLAG, FIELD(quiet), ALL, 0, 0, 0,
     "nothing but results, errors and notes; -q for short"},
    {"-o", "FILE", TEXT, FIELD(out), ENCODE | REPLAY | VIEWS, ENCODE | REPLAY | VIEWS, 0, 0,
     "the file to write"},
};

/* Without a command. */
static const struct {
    const char *name, *value, *says;
} plain_option[] = {
    {"--help", "", "this, or behind a command its options; -h for short"},
    {"--version", "", "the program's name and the compiler's version"},
    {"--completion", " bash", "what completes command lines: eval \"$(PROGRAM --completion bash)\""},
};

/* The parse under way. */
typedef struct {
    Options *to;
    const char *program;
    const CommandRow *command;
    bool given[COUNT(options)];
} Parse;

const char *options_program(int argc, char **argv)
{
    if (argc < 1)
        return "program";
    const char *slash = strrchr(argv[0], '/');
    return slash ? slash + 1 : argv[0];
}

static const CommandRow *find_command(const char *name)
{
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* `argument` is --name, --name=value or -o. Returns COUNT(options) when the command has none so named. */
static size_t find_option(const CommandRow *command, const char *argument)
{
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < COUNT(options); i++)
        if ((options[i].takes & command->bit) && strlen(options[i].name) == length &&
            strncmp(options[i].name, argument, length) == 0)
            return i;
    return COUNT(options);
}

static bool see_usage(const Parse *p, Fault *f, const char *what, const char *option)
{
    return fault(f, "%s: %s %s; see `%s %s --help`", p->command->name, what, option, p->program,
                 p->command->name);
}

/* The same of something mistyped, with what may have been meant. */
static bool see_meant(const Parse *p, Fault *f, const char *what, const char *typed, const Nearest *n)
{
    return n->word ? fault(f, "%s: %s %s; did you mean %s? See `%s %s --help`", p->command->name, what, typed,
                           n->word, p->program, p->command->name)
                   : see_usage(p, f, what, typed);
}

static bool unknown_option(const Parse *p, const char *argument, Fault *f)
{
    char others[128] = "";
    const size_t length = strcspn(argument, "=");
    Nearest nearest;
    nearest_begin(&nearest, argument, length);
    for (size_t i = 0; i < COUNT(options); i++)
        if (options[i].takes & p->command->bit)
            nearest_try(&nearest, options[i].name);
    nearest_try(&nearest, "--help");
    nearest_try(&nearest, "--version");
    for (size_t i = 0; i < COUNT(commands); i++) {
        const size_t used = strlen(others);
        if (find_option(&commands[i], argument) < COUNT(options))
            snprintf(others + used, sizeof others - used, "%s%s", used > 0 ? ", " : "", commands[i].name);
    }
    if (others[0] != '\0' && !nearest.word)
        return fault(f, "%s: unknown option %.*s, which is for %s; see `%s %s --help`", p->command->name,
                     (int)length, argument, others, p->program, p->command->name);
    return see_meant(p, f, "unknown option", argument, &nearest);
}

/* Of words between bars: "linear|mlp|knn". */
static bool unknown_word(const Parse *p, const char *what, const char *value, const char *bars, Fault *f)
{
    char words[64], *rest = words;
    Nearest nearest;
    nearest_begin(&nearest, value, strlen(value));
    snprintf(words, sizeof words, "%s", bars);
    for (char *word; (word = strsep(&rest, "|")) != NULL;)
        nearest_try(&nearest, word);
    return see_meant(p, f, what, value, &nearest);
}

static bool read_number(const Parse *p, const OptionRow *row, const char *text, uint64_t *out, Fault *f)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    bool whole = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    if (!whole || value < row->low || value > row->high)
        return fault(f, "%s: %s %s is not a whole number from %llu to %llu; see `%s %s --help`",
                     p->command->name, row->name, text, (unsigned long long)row->low,
                     (unsigned long long)row->high, p->program, p->command->name);
    *out = value;
    return true;
}

/* 90, 90s, 30m, 1h30m: units from large to small, each once; a number alone is of seconds. */
static bool parse_time(const char *text, uint64_t most, uint64_t *seconds)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    size_t next = 0;
    *seconds = 0;
    do {
        if (*text < '0' || *text > '9')
            return false;
        char *end = NULL;
        uint64_t part = strtoull(text, &end, 10); /* the largest there is, where it is too large */
        bool alone = *end == '\0' && next == 0;
        while (!alone && next < COUNT(units) && units[next].unit != *end)
            next++;
        if (next == COUNT(units) || __builtin_mul_overflow(part, alone ? 1 : units[next].seconds, &part) ||
            __builtin_add_overflow(*seconds, part, seconds) || *seconds > most)
            return false;
        next++;
        text = end + !alone;
    } while (*text);
    return true;
}

static bool read_time(const Parse *p, const OptionRow *row, const char *text, uint64_t *out, Fault *f)
{
    return (parse_time(text, row->high, out) && *out >= row->low) ||
           fault(f, "%s: %s %s is not a time such as 90s, 30m, 8h or 1h30m; see `%s %s --help`",
                 p->command->name, row->name, text, p->program, p->command->name);
}

static bool read_rate(const Parse *p, const OptionRow *row, const char *text, double *out, Fault *f)
{
    char *end = NULL;
    *out = strtod(text, &end);
    bool plain = (text[0] >= '0' && text[0] <= '9') || text[0] == '.';
    return (plain && *end == '\0' && (float)*out > 0 && (float)*out < INFINITY) ||
           fault(f, "%s: %s %s is not a number above 0, such as 2e-4; see `%s %s --help`", p->command->name,
                 row->name, text, p->program, p->command->name);
}

static bool read_share(const Parse *p, const OptionRow *row, const char *text, double *out, Fault *f)
{
    char *end = NULL;
    *out = strtod(text, &end);
    bool plain = (text[0] >= '0' && text[0] <= '9') || text[0] == '.';
    return (plain && *end == '\0' && *out > 0 && *out < 1) ||
           fault(f, "%s: %s %s is not a share between 0 and 1, such as 0.1; see `%s %s --help`",
                 p->command->name, row->name, text, p->program, p->command->name);
}

static bool store(const Parse *p, const OptionRow *row, const char *text, Fault *f)
{
    char *field = (char *)p->to + row->field;
    uint64_t number = 0;
    double rate = 0;
    if (row->kind == RATE && !read_rate(p, row, text, &rate, f))
        return false;
    if (row->kind == SHARE && !read_share(p, row, text, &rate, f))
        return false;
    if (row->kind == TIME && !read_time(p, row, text, &number, f))
        return false;
    if ((row->kind == NUMBER || row->kind == SMALL || row->kind == SEED) &&
        !read_number(p, row, text, &number, f))
        return false;
    switch (row->kind) {
    case TEXT: *(const char **)(void *)field = text; break;
    case NUMBER:
    case TIME: *(int64_t *)(void *)field = (int64_t)number; break;
    case SMALL: *(int *)(void *)field = (int)number; break;
    case SEED: *(uint64_t *)(void *)field = number; break;
    case SHARE:
    case RATE: *(double *)(void *)field = rate; break;
    case FLAG: *(bool *)(void *)field = true; break;
    }
    return true;
}

/* Takes the option at argv[*at], and its value where it has one; *at is then the last argument taken. */
static bool take_option(Parse *p, int argc, char **argv, int *at, Fault *f)
{
    const char *argument = strcmp(argv[*at], "-q") == 0 ? "--quiet" : argv[*at];
    size_t found = find_option(p->command, argument);
    if (argument[0] != '-')
        return see_usage(p, f, "unexpected argument", argument);
    if (found == COUNT(options))
        return unknown_option(p, argument, f);
    const OptionRow *row = &options[found];
    if (p->given[found])
        return see_usage(p, f, "given twice:", row->name);
    p->given[found] = true;

    const char *value = strchr(argument, '=');
    if (row->kind == FLAG)
        return value ? see_usage(p, f, "no value belongs to", row->name) : store(p, row, NULL, f);
    if (value)
        value++;
    else if (*at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0)
        value = argv[++*at];
    if (!value || !*value)
        return see_usage(p, f, "a value is missing after", row->name);
    return store(p, row, value, f);
}

static bool check_required(const Parse *p, Fault *f)
{
    for (size_t i = 0; i < COUNT(options); i++)
        if ((options[i].needs & p->command->bit) && !p->given[i])
            return fault(f, "%s needs %s %s; see `%s %s --help`", p->command->name, options[i].name,
                         options[i].value, p->program, p->command->name);
    return true;
}

/* What the table cannot say: words that must be one of a few, options that stand in for one another. */
static bool check_choices(const Parse *p, Fault *f)
{
    const Options *o = p->to;
    if (strcmp(o->split, "train") != 0 && strcmp(o->split, "test") != 0)
        return unknown_word(p, "neither train nor test: --split", o->split, "train|test", f);
    if (strcmp(o->labels, "fine") != 0 && !o->coarse)
        return unknown_word(p, "neither fine nor coarse: --labels", o->labels, "fine|coarse", f);
    if (strcmp(o->on_nan, "stop") != 0 && !o->skip_nan)
        return unknown_word(p, "neither stop nor skip: --on-nan", o->on_nan, "stop|skip", f);
    if (p->command->bit == ENCODE && !o->weights && !o->pixels)
        return fault(f, "encode needs --weights FILE, or --pixels; see `%s encode --help`", p->program);
    if (p->command->bit == ENCODE && o->pixels && (o->weights || o->scale))
        return see_usage(p, f, "no encoder takes part in", "--pixels");
    if (o->raw && !o->scale)
        return see_usage(p, f, "--scale D is missing beside", "--raw");
    if (o->probe_heads && !probing_heads(&(ProbeSplits){0}, o->probe_heads))
        return unknown_word(p, "none of linear, knn and linear,knn: --probe-heads", o->probe_heads,
                            "linear|knn|linear,knn", f);
    if (o->probe_heads && !o->probe_every)
        return see_usage(p, f, "--probe-every N is missing beside", "--probe-heads");
    if (!probe_named(o->head))
        return unknown_word(p, "none of linear, mlp and knn: --head", o->head, "linear|mlp|knn", f);
    if (p->command->bit == PROBE && (o->weights != NULL) + o->untrained + o->pixels != 1)
        return see_usage(p, f, "exactly one is needed of", "--weights FILE, --untrained and --pixels");
    return true;
}

/* --completion bash, or --completion=bash. */
static bool parse_completion(Parse *p, int argc, char **argv, Fault *f)
{
    const char *value = strchr(argv[1], '=');
    value = value ? value + 1 : argc > 2 ? argv[2] : "";
    p->to->completion = strcmp(value, "bash") == 0;
    return p->to->completion ||
           fault(f, "--completion%s%s: the shell that it is for is bash; see `%s --help`",
                 value[0] ? " " : "", value, p->program);
}

static bool unknown_command(const Parse *p, int argc, char **argv, Fault *f)
{
    const bool is_option = argv[1][0] == '-';
    Nearest nearest;
    nearest_begin(&nearest, argv[1], strcspn(argv[1], "="));
    for (size_t i = 0; !is_option && i < COUNT(commands); i++)
        nearest_try(&nearest, commands[i].name);
    for (size_t i = 0; i < COUNT(plain_option); i++)
        nearest_try(&nearest, plain_option[i].name);
    for (int i = 2; is_option && i < argc; i++)
        if (find_command(argv[i]))
            return fault(f, "the command comes first: `%s %s %s ...`; see `%s --help`", p->program, argv[i],
                         argv[1], p->program);
    if (nearest.word)
        return fault(f, "unknown command %s; did you mean %s? See `%s --help`", argv[1], nearest.word,
                     p->program);
    return fault(f,
                 is_option ? "a command is missing in front of %s; see `%s --help`"
                           : "unknown command %s; see `%s --help`",
                 argv[1], p->program);
}

bool options_parse(Options *o, const AmdimModel *m, int argc, char **argv, Fault *f)
{
    *o = (Options){.epochs = -1,
                   .steps = -1,
                   .limit = -1,
                   .count = -1,
                   .threads = m->threads,
                   .head = "linear",
                   .split = "test",
                   .labels = "fine",
                   .on_nan = "stop"};
    Parse parse = {.to = o, .program = options_program(argc, argv)};
    if (argc < 2)
        return fault(f, "a command is missing; see `%s --help`", parse.program);
    for (int i = 1; i < argc; i++) {
        o->help |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        o->version |= strcmp(argv[i], "--version") == 0;
    }
    parse.command = find_command(argv[1]);
    o->command = parse.command ? parse.command->name : NULL;
    if (o->help || o->version)
        return true;
    if (strncmp(argv[1], "--completion", strlen("--completion")) == 0)
        return parse_completion(&parse, argc, argv, f);
    if (!parse.command)
        return unknown_command(&parse, argc, argv, f);

    for (int i = 2; i < argc; i++)
        if (!take_option(&parse, argc, argv, &i, f))
            return false;
    for (size_t i = 0; i < COUNT(options); i++) {
        o->seed_given |= parse.given[i] && options[i].kind == SEED;
        o->split_given |= parse.given[i] && options[i].field == FIELD(split);
    }
    o->coarse = strcmp(o->labels, "coarse") == 0;
    o->skip_nan = strcmp(o->on_nan, "skip") == 0;
    return check_required(&parse, f) && check_choices(&parse, f);
}

static void print_call(const CommandRow *command, const char *program, FILE *stream)
{
    fprintf(stream, "usage: %s %s", program, command->name);
    for (size_t i = 0; i < COUNT(options); i++) {
        const OptionRow *row = &options[i];
        if (!(row->takes & command->bit))
            continue;
        bool needed = row->needs & command->bit;
        fprintf(stream, needed ? " %s%s%s" : " [%s%s%s]", row->name, row->value ? " " : "",
                row->value ? row->value : "");
    }
    fprintf(stream, "\n");
}

static void print_command(const CommandRow *command, const char *program, FILE *stream)
{
    print_call(command, program, stream);
    fprintf(stream, "\n%s\n\n", command->says);
    for (size_t i = 0; i < COUNT(options); i++) {
        char name[40];
        if (!(options[i].takes & command->bit))
            continue;
        snprintf(name, sizeof name, "%s %s", options[i].name, options[i].value ? options[i].value : "");
        fprintf(stream, "  %-20s %s\n", name, options[i].says);
    }
}

void options_usage(const AmdimModel *m, const char *program, const char *command, FILE *stream)
{
    const CommandRow *one = command ? find_command(command) : NULL;
    if (one) {
        print_command(one, program, stream);
        return;
    }
    fprintf(stream, "usage: %s COMMAND [OPTION ...]\n\nThe training program of %s, compiled from %s.\n\n",
            program, m->name, m->spec);
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(stream, "  %-9s %s\n", commands[i].name, commands[i].says);
    fprintf(stream, "\n");
    for (size_t i = 0; i < COUNT(plain_option); i++)
        fprintf(stream, "  %s%-*s %s\n", plain_option[i].name, 17 - (int)strlen(plain_option[i].name),
                plain_option[i].value, plain_option[i].says);
    fprintf(stream, "\n`%s COMMAND --help` shows a command's options.\n", program);
}

/* ---- --completion ---- */

/* Of a name, what a function of bash may be called. */
static void print_identifier(const char *name, FILE *stream)
{
    for (; *name; name++)
        fputc((*name >= '0' && *name <= '9') || (*name >= 'A' && *name <= 'Z') ||
                      (*name >= 'a' && *name <= 'z')
                  ? *name
                  : '_',
              stream);
}

/* A word of the shell's, whatever it holds. */
static void print_quoted(const char *text, FILE *stream)
{
    fputc('\'', stream);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            fputc(*text, stream);
    fputc('\'', stream);
}

/* What completes the value, as words of compgen's; NULL where nothing does. */
static const char *completed_by(const OptionRow *row, char words[static 96])
{
    if (row->kind != TEXT)
        return NULL;
    if (strchr(row->value, '|') == NULL) /* data may be a file as well */
        return strcmp(row->value, "RUN") == 0 ? "-d" : "-f";
    snprintf(words, 96, "-W '%s'", row->value);
    for (char *bar; (bar = strchr(words, '|')) != NULL;)
        *bar = ' ';
    return words;
}

static bool is_first_row(size_t row)
{
    for (size_t i = 0; i < row; i++)
        if (strcmp(options[i].name, options[row].name) == 0)
            return false;
    return true;
}

static void print_values(FILE *stream)
{
    char words[96];
    for (size_t i = 0; i < COUNT(options); i++) {
        if (options[i].kind == FLAG || !is_first_row(i))
            continue;
        const char *by = completed_by(&options[i], words);
        fprintf(stream, "        %s | %s=) %s", options[i].name, options[i].name, by ? "compgen " : "");
        fprintf(stream, by ? "%s -- \"$word\" ;;\n" : ";;\n", by);
    }
}

static void print_options(FILE *stream)
{
    for (size_t c = 0; c < COUNT(commands); c++) {
        fprintf(stream, "                %s) words='--help --version", commands[c].name);
        for (size_t i = 0; i < COUNT(options); i++)
            if (options[i].takes & commands[c].bit)
                fprintf(stream, " %s", options[i].name);
        fprintf(stream, "' ;;\n");
    }
}

void options_completion(const char *program, FILE *stream)
{
    fprintf(stream, "# bash completion of ");
    print_quoted(program, stream);
    fprintf(stream, ", as its --completion bash prints it.\n\n_amdim_offers_");
    print_identifier(program, stream);
    fprintf(stream, "()\n"
                    "{\n"
                    "    local command=$1 option=$2 word=$3 words=''\n"
                    "    case $option in\n");
    print_values(stream);
    fprintf(stream, "        *)\n"
                    "            case $command in\n");
    print_options(stream);
    fprintf(stream, "            esac\n"
                    "            compgen -W \"$words\" -- \"$word\"\n"
                    "            ;;\n"
                    "    esac\n"
                    "}\n\n_amdim_");
    print_identifier(program, stream);
    fprintf(stream, "()\n"
                    "{\n"
                    "    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}\n"
                    "    # Bash makes three words of --head=knn; here the first two are one again.\n"
                    "    if [[ $word == '=' ]]; then\n"
                    "        word='' option=\"$option=\"\n"
                    "    elif [[ $option == '=' ]]; then\n"
                    "        option=\"${COMP_WORDS[COMP_CWORD - 2]}=\"\n"
                    "    fi\n"
                    "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
                    "        mapfile -t COMPREPLY < <(compgen -W '");
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(stream, "%s ", commands[i].name);
    fprintf(stream, "--help --version --completion' -- \"$word\")\n"
                    "    else\n"
                    "        mapfile -t COMPREPLY < <(_amdim_offers_");
    print_identifier(program, stream);
    fprintf(stream, " \"${COMP_WORDS[1]}\" \"$option\" \"$word\")\n"
                    "    fi\n"
                    "}\n\n"
                    "complete -o filenames -F _amdim_");
    print_identifier(program, stream);
    fprintf(stream, " ");
    print_quoted(program, stream);
    fprintf(stream, "\n");
}
