/* command_line.c: amdimc's command line but for a sweep's: its usage, and what each option sets. */
#include "command_line.h"
#include "completion.h"
#include "sweep/sweep.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: amdimc SPEC.yaml -o PROGRAM        compile; the generated C is kept in generated/NAME/\n"
    "       amdimc --emit=c SPEC.yaml -o DIR   the C only: a folder that builds with `make`\n"
    "       amdimc --emit=library SPEC.yaml -o DIR [--weights FILE]\n"
    "                                          the model as C functions for other programs\n"
    "       amdimc --emit=onnx SPEC.yaml --weights FILE -o FILE.onnx [--scale d]\n"
    "                                          the trained encoder for other runtimes\n"
    "       amdimc --emit=pytorch SPEC.yaml -o FILE.py\n"
    "                                          the same model and loss as a PyTorch module\n"
    "       amdimc --explain SPEC.yaml         layers, pairs, FLOPs, memory; --explain=json for machines\n"
    "       amdimc --emit=ir SPEC.yaml         the operations of a step, as text\n"
    "       amdimc --check SPEC.yaml           diagnostics only\n"
    "       amdimc --tune SPEC.yaml [-o FILE]  the fastest way to make each product here, for --tuned;\n"
    "                                          --tune=SECONDS: of a run, 1.5 unless given\n"
    "       amdimc sweep SPEC.yaml [--pairs LIST ...] [--set KEY=V1,V2 ...] --out DIR\n"
    "                                          compile, train and probe every combination, and compare them\n"
    "\n"
    "options:\n"
    "  -o PATH             the program; with --emit=c and --emit=library the folder, else the file; -\n"
    "                      is standard output, for text (the default of --emit=ir and --explain) and ONNX\n"
    "  --gen-dir DIR       where the generated C goes instead of generated/NAME\n"
    "  --cc PATH           the clang to use (or $AMDIMC_CC; clang)\n"
    "  --pairs LIST        train these pairs instead: 1-to-5,1-to-7,...\n"
    "  --batch N           images in a step\n"
    "  --march NAME        processor, as clang's -march\n"
    "  --threads N         threads of the program, unless it is told otherwise\n"
    "  --blas NAME         openblas or none\n"
    "  --memory SIZE       the most the program may hold: 512MiB\n"
    "  --precision NAME    float32, bfloat16x3 or bfloat16: of products, and of activations in memory\n"
    "  --ranks R           equal shares of the batch, for as many as R processes of MPI\n"
    "  --tuned FILE        make products as a file of --tune says\n"
    "  --target TRIPLE     for another machine, as clang's --target; of the least processor unless --march "
    "says\n"
    "  --static            a program that needs no shared library\n"
    "  --weights FILE      the weights of a run: with --emit=onnx the encoder's; with --emit=library as "
    "constants, of\n"
    "                      --weights-type float32, float16 or int8\n"
    "  --scale d           with --emit=onnx, phi_d instead of f_1\n"
    "  --products NAME     fastest; to measure against, every product by one kernel where that can: "
    "openblas,\n"
    "                      winograd, sparse, masked, blocked, tiles, dots, streamed or direct\n"
    "  -q, --quiet         nothing but errors and notes\n"
    "  --completion bash   what completes amdimc's command lines: eval \"$(amdimc --completion bash)\"\n"
    "  -h, --help, --version\n"
    "\n";
static const char exit_status[] =
    "\n"
    "exit status: 0 done; 1 the spec is wrong or the back end failed; 2 usage; of sweep 130, 143, 129 after\n"
    "SIGINT, SIGTERM, SIGHUP, with its runs saved\n";

static int take_emit(Command *c, const char *what)
{
    static const char *const forms[] = {"c", "library", "pytorch", "onnx", "ir"};
    static const Make make[] = {MAKE_C, MAKE_LIBRARY, MAKE_PYTORCH, MAKE_ONNX, MAKE_IR};
    const int form = option_word("amdimc", "--emit=", what, forms, COUNT(forms));
    if (form >= 0)
        c->make = make[form];
    return form >= 0 ? GO_ON : EXIT_USAGE;
}

static int take_explain(Command *c, const char *how)
{
    static const char *const forms[] = {"text", "json"};
    const int form = how ? option_word("amdimc", "--explain=", how, forms, COUNT(forms)) : 0;
    c->make = form > 0 ? MAKE_EXPLAIN_JSON : MAKE_EXPLAIN;
    return form >= 0 ? GO_ON : EXIT_USAGE;
}

static int take_products(Command *c, const char *name)
{
    const char *names[1 + MOST_KERNELS] = {"fastest"};
    const size_t count = 1 + (size_t)kernel_names(names + 1);
    const int chosen = option_word("amdimc", "--products=", name, names, count);
    c->choices.forced = chosen > 0 ? name : NULL;
    return chosen >= 0 ? GO_ON : EXIT_USAGE;
}

static int take_weights_type(Command *c, const char *name)
{
    static const char *const types[] = {"float32", "float16", "int8"};
    static const WeightType type[] = {WEIGHTS_FLOAT32, WEIGHTS_FLOAT16, WEIGHTS_INT8};
    const int chosen = option_word("amdimc", "--weights-type ", name, types, COUNT(types));
    if (chosen >= 0)
        c->trained.type = type[chosen];
    return chosen >= 0 ? GO_ON : EXIT_USAGE;
}

static int take_scale(Command *c, const char *number)
{
    enum { LARGEST = 65536 };
    char *end;
    const long d = strtol(number, &end, 10);
    if (*number < '0' || *number > '9' || *end || d < 1 || d > LARGEST)
        return usage_error("amdimc", "--scale %s is no scale: a whole number, the d of phi_d", number);
    c->scale = (int)d;
    return GO_ON;
}

/* Options that only some forms take. */
static int check_trained(Command *c)
{
    if (c->trained.path && c->make != MAKE_LIBRARY && c->make != MAKE_ONNX)
        return usage_error("amdimc", "--weights goes with --emit=library or --emit=onnx");
    if (c->make == MAKE_ONNX && !c->trained.path)
        return usage_error("amdimc", "--weights is missing: which run's encoder shall it be?");
    if (c->make == MAKE_ONNX && c->trained.type)
        return usage_error("amdimc", "--weights-type goes with --emit=library; ONNX has float32");
    if (c->scale && c->make != MAKE_ONNX)
        return usage_error("amdimc", "--scale goes with --emit=onnx");
    if (c->trained.type && !c->trained.path)
        return usage_error("amdimc", "--weights-type says what --weights shall become: give both");
    if (c->trained.path && !c->trained.type)
        c->trained.type = WEIGHTS_FLOAT32;
    return GO_ON;
}

static int take_tune(Command *c, const char *seconds)
{
    enum { LONGEST = 3600 };
    char *end = "";
    c->make = MAKE_TUNE;
    c->seconds = seconds ? strtod(seconds, &end) : TUNE_SECONDS;
    if (*end || !(c->seconds > 0 && c->seconds <= LONGEST))
        return usage_error("amdimc", "--tune=%s is no length of a run: seconds, up to %d", seconds, LONGEST);
    return GO_ON;
}

/* What times programs has to run them; what has choices, to make products by kernels to choose from. */
static int check_tuned(const Command *c)
{
    if (c->make == MAKE_TUNE && target_is_other(&c->build))
        return usage_error("amdimc", "--tune runs what it times: run it on the machine itself");
    if (c->make == MAKE_TUNE && (c->build.tuned || c->choices.forced))
        return usage_error("amdimc", "--tune finds out what %s says: give one of them",
                           c->build.tuned ? "--tuned" : "--products");
    if (c->build.tuned && c->choices.forced)
        return usage_error("amdimc", "--tuned and --products both say how products are made: give one");
    if (c->build.tuned && (c->make == MAKE_LIBRARY || c->make == MAKE_ONNX || c->make == MAKE_PYTORCH))
        return usage_error("amdimc",
                           "--tuned goes with a program, --emit=c, --emit=ir, --explain or --check");
    return GO_ON;
}

/* It becomes a word of clang's, and a line of a Makefile. */
static int take_target(Command *c, const char *triple)
{
    size_t good = strspn(triple, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-");
    if (!good || triple[good] || *triple == '-')
        return usage_error("amdimc", "--target %s is no triple, as aarch64-linux-gnu is one", triple);
    c->build.target = triple;
    return GO_ON;
}

const char *made_in_files(Make make)
{
    return make == MAKE_PROGRAM                     ? "program"
           : make == MAKE_C || make == MAKE_LIBRARY ? "C"
           : make == MAKE_ONNX                      ? "ONNX"
           : make == MAKE_PYTORCH                   ? "Python"
                                                    : NULL;
}

bool is_text(Make make)
{
    return make == MAKE_IR || make == MAKE_EXPLAIN || make == MAKE_EXPLAIN_JSON || make == MAKE_PYTORCH;
}

static int print_version(void)
{
    return print_text("amdimc " AMDIMC_VERSION "\n") ? EXIT_DONE : EXIT_FAILED;
}

static int print_help(void)
{
    Arena *a = arena_new();
    bool printed = print_text(arena_printf(a, "%s%s%s", usage, sweep_usage, exit_status));
    arena_free(a);
    return printed ? EXIT_DONE : EXIT_FAILED;
}

enum {
    GEN_DIR = 256,
    CC,
    EMIT,
    EXPLAIN,
    CHECK,
    PAIRS,
    TARGET,
    STATIC,
    TUNE,
    TUNED,
    PRODUCTS,
    WEIGHTS,
    WEIGHTS_TYPE,
    SCALE,
    QUIET,
    COMPLETION,
    HELP,
    VERSION
};
static const struct option options[] = {
    {"gen-dir", required_argument, NULL, GEN_DIR},
    {"cc", required_argument, NULL, CC},
    {"emit", required_argument, NULL, EMIT},
    {"check", no_argument, NULL, CHECK},
    {"pairs", required_argument, NULL, PAIRS},
    OVERRIDES(OVERRIDE_ROW) /* --batch to --ranks */
    {"target", required_argument, NULL, TARGET},
    {"static", no_argument, NULL, STATIC},
    {"tune", optional_argument, NULL, TUNE},
    {"tuned", required_argument, NULL, TUNED},
    {"explain", optional_argument, NULL, EXPLAIN},
    {"quiet", no_argument, NULL, QUIET},
    {"completion", required_argument, NULL, COMPLETION},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {"products", required_argument, NULL, PRODUCTS},
    {"weights", required_argument, NULL, WEIGHTS},
    {"scale", required_argument, NULL, SCALE},
    {"weights-type", required_argument, NULL, WEIGHTS_TYPE},
    {NULL, 0, NULL, 0},
};

/* A word in the place of the spec that may be a command, of ours or of programs; then it has said so. */
static bool is_no_spec(const char *word)
{
    static const char *const of_programs[] = {"train", "check", "probe",  "encode",   "views",
                                              "info",  "bench", "replay", "selfcheck"};
    Nearest nearest;
    if (strpbrk(word, "./") || !access(word, F_OK))
        return false;
    nearest_begin(&nearest, word, strlen(word));
    nearest_try(&nearest, "sweep");
    const bool is_sweep = nearest.word;
    for (const struct option *o = options; o->name; o++)
        nearest_try(&nearest, o->name);
    if (nearest.word)
        usage_error("amdimc", "there is no command or file %s; did you mean %s%s?", word,
                    is_sweep && !strcmp(nearest.word, "sweep") ? "" : "--", nearest.word);
    for (size_t i = 0; !nearest.word && i < COUNT(of_programs); i++)
        if (!strcmp(word, of_programs[i])) {
            usage_error("amdimc",
                        "%s is a command of programs: `amdimc SPEC.yaml -o PROGRAM` compiles one, "
                        "`PROGRAM %s` runs it",
                        word, word);
            return true;
        }
    return nearest.word;
}

static int take_spec(Command *c, const char *word)
{
    const int code = option_spec("amdimc", &c->spec, word);
    return code == GO_ON && is_no_spec(word) ? EXIT_USAGE : code;
}

/* Twice it is two combinations to a sweep. */
static int take_pairs(Command *c, const char *list)
{
    if (c->overrides.pairs)
        return usage_error("amdimc",
                           "--pairs is given twice; give one list, 1-to-5,1-to-7, or try both by a sweep");
    c->overrides.pairs = list;
    return GO_ON;
}

static int take(Command *c, int option, const char *value)
{
    switch (option) {
    case OPTION_OPERAND: return take_spec(c, value);
    case 'o': c->build.output = value; break;
    case GEN_DIR: c->build.gen_dir = value; break;
    case CC: c->build.cc = value; break;
    case CHECK: c->make = MAKE_CHECK; break;
    case PAIRS: return take_pairs(c, value);
    case TARGET: return take_target(c, value);
    case STATIC: c->build.is_static = true; break;
    case TUNE: return take_tune(c, value);
    case TUNED: c->build.tuned = value; break;
    case PRODUCTS: return take_products(c, value);
    case WEIGHTS: c->trained.path = value; break;
    case SCALE: return take_scale(c, value);
    case WEIGHTS_TYPE: return take_weights_type(c, value);
    case EMIT: return take_emit(c, value);
    case EXPLAIN: return take_explain(c, value);
    case 'q':
    case QUIET: progress_silence(); break;
    case COMPLETION: return completion_print("amdimc", value);
    case 'h':
    case HELP: return print_help();
    case VERSION: return print_version();
    default: return override_take(&c->overrides, option, value) ? GO_ON : EXIT_USAGE;
    }
    return GO_ON;
}

/* `-o -`; false where what is made cannot go there. */
static bool take_standard_output(Command *c)
{
    c->build.output = is_text(c->make) ? NULL : "/dev/stdout";
    return is_text(c->make) || c->make == MAKE_ONNX || c->make == MAKE_CHECK;
}

/* Of all options together. */
static int check_whole(Command *c)
{
    if (!c->spec || !*c->spec)
        return usage_error("amdimc", "no spec given");
    if ((!c->build.output || !*c->build.output) && made_in_files(c->make))
        return usage_error("amdimc", "-o is missing: where shall the %s go?", made_in_files(c->make));
    if (c->build.output && !strcmp(c->build.output, "-") && !take_standard_output(c))
        return usage_error("amdimc", "-o - is standard output, where no %s can go; ./- is a file's name",
                           made_in_files(c->make) ? made_in_files(c->make) : "choices");
    const int code = check_trained(c);
    return code == GO_ON ? check_tuned(c) : code;
}

int command_parse(Command *c, int argc, char **argv)
{
    OptionReader r = {"amdimc", argc, argv, "-:o:hq", options, false};
    int code = GO_ON;
    for (int o; code == GO_ON && (o = option_next(&r)) != -1;)
        code = take(c, o, optarg);
    if (code == GO_ON)
        code = check_whole(c);
    return code;
}
