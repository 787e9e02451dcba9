/* options.c: the command line, parsed by the tables of options_tables.c.
 *
 * What is wrong is said in words together with how to see the usage; nothing is printed here. Whether files
 * exist or a scale is there is the commands' business. */
#include "options_internal.h"
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The parse under way. */
typedef struct {
    Options *to;
    const char *program;
    const CommandRow *command;
    bool given[OPTION_ROWS_MOST]; /* by the option's row */
} Parse;

const char *options_program(int argc, char **argv)
{
    if (argc < 1)
        return "program";
    const char *slash = strrchr(argv[0], '/');
    return slash ? slash + 1 : argv[0];
}

const CommandRow *option_command_named(const char *name)
{
    for (size_t i = 0; option_commands[i].name; i++)
        if (strcmp(option_commands[i].name, name) == 0)
            return &option_commands[i];
    return NULL;
}

/* `argument` is --name, --name=value or -o. NULL when the command has none so named. */
static const OptionRow *find_option(const CommandRow *command, const char *argument)
{
    size_t length = strcspn(argument, "=");
    for (const OptionRow *row = option_rows; row->name; row++)
        if ((row->takes & command->bit) && strlen(row->name) == length &&
            strncmp(row->name, argument, length) == 0)
            return row;
    return NULL;
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
    for (size_t i = 0; option_rows[i].name; i++)
        if (option_rows[i].takes & p->command->bit)
            nearest_try(&nearest, option_rows[i].name);
    nearest_try(&nearest, "--help");
    nearest_try(&nearest, "--version");
    for (size_t i = 0; option_commands[i].name; i++) {
        const size_t used = strlen(others);
        if (find_option(&option_commands[i], argument))
            snprintf(others + used, sizeof others - used, "%s%s", used > 0 ? ", " : "",
                     option_commands[i].name);
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

/* What a text is that is none of the words between bars: "neither stop nor skip: --on-nan". */
static const char *none_of(char *to, size_t size, const char *bars, const char *option)
{
    int words = 1;
    for (const char *b = bars; (b = strchr(b, '|')) != NULL; b++)
        words++;
    const char *const first = words == 2 ? "neither " : "none of ";
    const char *const last = words == 2 ? " nor " : " and ";
    size_t length = 0;
    for (int i = 0; i < words; i++) {
        const char *before = i == 0 ? first : i == words - 1 ? last : ", ";
        const int letters = (int)strcspn(bars, "|");
        length += (size_t)snprintf(to + length, size - length, "%s%.*s", before, letters, bars);
        bars += letters + 1;
    }
    snprintf(to + length, size - length, ": %s", option);
    return to;
}

static bool check_word(const Parse *p, const OptionRow *row, const char *text, Fault *f)
{
    for (const char *word = row->value; *word; word += *word == '|') {
        const size_t length = strcspn(word, "|");
        if (strlen(text) == length && strncmp(word, text, length) == 0)
            return true;
        word += length;
    }
    char what[128];
    return unknown_word(p, none_of(what, sizeof what, row->value, row->name), text, row->value, f);
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
    return (plain && *end == '\0' && (float)*out >= FLT_MIN && (float)*out < INFINITY) ||
           fault(f, "%s: %s %s is no such rate as 2e-4, a number from 1.2e-38 to 3.4e38; see `%s %s --help`",
                 p->command->name, row->name, text, p->program, p->command->name);
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
    if (row->kind == WORD && !check_word(p, row, text, f))
        return false;
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
    case OUTPUT: *(const char **)(void *)field = strcmp(text, "-") ? text : "/dev/stdout"; break;
    case TEXT:
    case WORD: *(const char **)(void *)field = text; break;
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
    const OptionRow *row = find_option(p->command, argument);
    if (argument[0] != '-')
        return see_usage(p, f, "unexpected argument", argument);
    if (!row)
        return unknown_option(p, argument, f);
    bool *given = &p->given[row - option_rows];
    if (*given)
        return see_usage(p, f, "given twice:", row->name);
    *given = true;

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
    for (size_t i = 0; option_rows[i].name; i++)
        if ((option_rows[i].needs & p->command->bit) && !p->given[i])
            return fault(f, "%s needs %s %s; see `%s %s --help`", p->command->name, option_rows[i].name,
                         option_rows[i].value, p->program, p->command->name);
    return true;
}

/* What the table cannot say: options that stand in for one another, or are nothing without another. */
static bool check_choices(const Parse *p, Fault *f)
{
    const Options *o = p->to;
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
    for (size_t i = 0; !is_option && option_commands[i].name; i++)
        nearest_try(&nearest, option_commands[i].name);
    for (size_t i = 0; option_plain[i].name; i++)
        nearest_try(&nearest, option_plain[i].name);
    for (int i = 2; is_option && i < argc; i++)
        if (option_command_named(argv[i]))
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
    parse.command = option_command_named(argv[1]);
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
    for (size_t i = 0; option_rows[i].name; i++) {
        o->seed_given |= parse.given[i] && option_rows[i].kind == SEED;
        o->split_given |= parse.given[i] && option_rows[i].field == offsetof(Options, split);
    }
    o->coarse = strcmp(o->labels, "coarse") == 0;
    o->skip_nan = strcmp(o->on_nan, "skip") == 0;
    return check_required(&parse, f) && check_choices(&parse, f);
}
