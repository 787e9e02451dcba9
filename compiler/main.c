/* main.c: the command line, and the passes one after the other. */
#include "completion.h"
#include "sweep/sweep.h"
#include "tune/tune.h"
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
    "  -o PATH             the program; with --emit=c and --emit=library the folder, else the file\n"
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
    "                      winograd, sparse, masked, blocked, tiles, dots or direct\n"
    "  -q, --quiet         nothing but errors and notes\n"
    "  --completion bash   what completes amdimc's command lines: eval \"$(amdimc --completion bash)\"\n"
    "  -h, --help, --version\n"
    "\n";
static const char generated_folder[] = "generated/"; /* NAME/ is made in it */
static const char exit_status[] =
    "\n"
    "exit status: 0 done; 1 the spec is wrong or the back end failed; 2 usage\n";

typedef enum {
    MAKE_PROGRAM,
    MAKE_C,
    MAKE_LIBRARY,
    MAKE_PYTORCH,
    MAKE_ONNX,
    MAKE_IR,
    MAKE_EXPLAIN,
    MAKE_EXPLAIN_JSON,
    MAKE_CHECK,
    MAKE_TUNE
} Make;

typedef struct {
    Make make;
    const char *spec;
    Overrides overrides;
    Choices choices;
    double seconds; /* of a run of --tune */
    TrainedWeights trained;
    int scale; /* of --emit=onnx, or 0: f_1 */
    Build build;
} Command;

static int parse_emit(Command *c, const char *what)
{
    static const char *const forms[] = {"c", "library", "pytorch", "onnx", "ir"};
    static const Make make[] = {MAKE_C, MAKE_LIBRARY, MAKE_PYTORCH, MAKE_ONNX, MAKE_IR};
    const int form = option_word("amdimc", "--emit=", what, forms, COUNT(forms));
    if (form >= 0)
        c->make = make[form];
    return form >= 0 ? EXIT_DONE : EXIT_USAGE;
}

static int parse_explain(Command *c, const char *how)
{
    static const char *const forms[] = {"text", "json"};
    const int form = how ? option_word("amdimc", "--explain=", how, forms, COUNT(forms)) : 0;
    c->make = form > 0 ? MAKE_EXPLAIN_JSON : MAKE_EXPLAIN;
    return form >= 0 ? EXIT_DONE : EXIT_USAGE;
}

static int parse_products(Command *c, const char *name)
{
    static const char *const names[] = {"fastest", "openblas", "winograd", "sparse", "masked",
                                        "blocked", "tiles",    "dots",     "direct"};
    const int chosen =
        kernel_is_known(name) ? 1 : option_word("amdimc", "--products=", name, names, COUNT(names));
    c->choices.forced = chosen > 0 ? name : NULL;
    return chosen >= 0 ? EXIT_DONE : EXIT_USAGE;
}

static int parse_weights_type(Command *c, const char *name)
{
    static const char *const types[] = {"float32", "float16", "int8"};
    static const WeightType type[] = {WEIGHTS_FLOAT32, WEIGHTS_FLOAT16, WEIGHTS_INT8};
    const int chosen = option_word("amdimc", "--weights-type ", name, types, COUNT(types));
    if (chosen >= 0)
        c->trained.type = type[chosen];
    return chosen >= 0 ? EXIT_DONE : EXIT_USAGE;
}

static int parse_scale(Command *c, const char *number)
{
    enum { LARGEST = 65536 };
    char *end;
    const long d = strtol(number, &end, 10);
    if (*number < '0' || *number > '9' || *end || d < 1 || d > LARGEST)
        return usage_error("amdimc", "--scale %s is no scale: a whole number, the d of phi_d", number);
    c->scale = (int)d;
    return EXIT_DONE;
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
    return EXIT_DONE;
}

static int parse_tune(Command *c, const char *seconds)
{
    enum { LONGEST = 3600 };
    char *end = "";
    c->make = MAKE_TUNE;
    c->seconds = seconds ? strtod(seconds, &end) : TUNE_SECONDS;
    if (*end || !(c->seconds > 0 && c->seconds <= LONGEST))
        return usage_error("amdimc", "--tune=%s is no length of a run: seconds, up to %d", seconds, LONGEST);
    return EXIT_DONE;
}

/* What times programs has to run them; what has choices, to make products by kernels that there are to
 * choose.
 */
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
    return EXIT_DONE;
}

/* It becomes a word of clang's, and a line of a Makefile. */
static int parse_target(Command *c, const char *triple)
{
    size_t good = strspn(triple, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-");
    if (!good || triple[good] || *triple == '-')
        return usage_error("amdimc", "--target %s is no triple, as aarch64-linux-gnu is one", triple);
    c->build.target = triple;
    return EXIT_DONE;
}

/* What goes where -o says, or NULL. */
static const char *made_in_files(Make make)
{
    return make == MAKE_PROGRAM                     ? "program"
           : make == MAKE_C || make == MAKE_LIBRARY ? "C"
           : make == MAKE_ONNX                      ? "ONNX"
           : make == MAKE_PYTORCH                   ? "Python"
                                                    : NULL;
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

/* A word in the place of the spec that may be a command, of ours or of programs; then it has said so. */
static bool is_no_spec(const struct option *options, const char *word)
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

/* The exit code, or -1 to go on. */
static int parse(Command *c, int argc, char **argv)
{
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
    OptionReader r = {"amdimc", argc, argv, "-:o:hq", options, false};
    for (int o; (o = option_next(&r)) != -1;) {
        switch (o) {
        case OPTION_OPERAND:
            if (c->spec)
                return usage_error("amdimc", "one spec at a time: %s is one too many", optarg);
            c->spec = optarg;
            if (is_no_spec(options, optarg))
                return EXIT_USAGE;
            break;
        case 'o': c->build.output = optarg; break;
        case GEN_DIR: c->build.gen_dir = optarg; break;
        case CC: c->build.cc = optarg; break;
        case CHECK: c->make = MAKE_CHECK; break;
        case PAIRS: c->overrides.pairs = optarg; break;
        case TARGET:
            if (parse_target(c, optarg))
                return EXIT_USAGE;
            break;
        case STATIC: c->build.is_static = true; break;
        case TUNE:
            if (parse_tune(c, optarg))
                return EXIT_USAGE;
            break;
        case TUNED: c->build.tuned = optarg; break;
        case PRODUCTS:
            if (parse_products(c, optarg))
                return EXIT_USAGE;
            break;
        case WEIGHTS: c->trained.path = optarg; break;
        case SCALE:
            if (parse_scale(c, optarg))
                return EXIT_USAGE;
            break;
        case WEIGHTS_TYPE:
            if (parse_weights_type(c, optarg))
                return EXIT_USAGE;
            break;
        case EMIT:
            if (parse_emit(c, optarg))
                return EXIT_USAGE;
            break;
        case EXPLAIN:
            if (parse_explain(c, optarg))
                return EXIT_USAGE;
            break;
        case 'q':
        case QUIET: progress_silence(); break;
        case COMPLETION: return completion_print("amdimc", optarg);
        case 'h':
        case HELP: return print_help();
        case VERSION: return print_version();
        default:
            if (!override_take(&c->overrides, o, optarg))
                return EXIT_USAGE;
        }
    }
    if (!c->spec || !*c->spec)
        return usage_error("amdimc", "no spec given");
    if ((!c->build.output || !*c->build.output) && made_in_files(c->make))
        return usage_error("amdimc", "-o is missing: where shall the %s go?", made_in_files(c->make));
    if (check_trained(c) || check_tuned(c))
        return EXIT_USAGE;
    return -1;
}

/* The source of the program's reference, or NULL. */
static const char *reference_c(Arena *a, Diagnostics *d, const Program *p)
{
    Program *reference = program_has_reference(p) ? compile_reference(a, d, p->net) : NULL;
    return reference ? emit_model(a, reference) : NULL;
}

/* Where some product is OpenBLAS's, with a second model for machines that lack it. */
static bool make_folder(Arena *a, Diagnostics *d, const Command *c, const Program *p)
{
    Folder f = {.net = p->net,
                .overrides = &c->overrides,
                .model_c = emit_model(a, p),
                .reference_c = reference_c(a, d, p)};
    if (p->openblas) {
        Program *own = compile_without_openblas(a, d, p->net, &c->choices);
        if (!own)
            return false;
        own->triple = p->triple;
        f.without_openblas = emit_model(a, own);
    }
    return folder_write(a, d, &c->build, &f);
}

/* Clang takes seconds, of which nothing else would be seen. */
static void say_compiling(const Command *c, const Program *p)
{
    say_progress(stderr, "%s: %d operations a step, %.1f GFLOP; %s compiles %s/%s.c for %s", c->build.output,
                 p->step->ops, cost_batch_flop(p->step) / 1e9, c->build.cc, c->build.gen_dir,
                 p->net->spec->name.v, p->net->spec->target.march.v);
}

/* The C of a program, for clang. */
static bool generate(Arena *a, Diagnostics *d, const Build *b, const Spec *s, const Program *p)
{
    return build_directory(a, b->gen_dir) && build_lock(b->gen_dir) &&
           !build_is_generated(a, b, s, b->output) && build_may_generate(a, b, s) &&
           build_write(a, b, s, emit_model(a, p), reference_c(a, d, p));
}

/* Whole in memory, so that a failed write is told with its own reason. */
static const char *described(Arena *a, const Command *c, const Program *p)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    if (c->make == MAKE_IR) {
        graph_print(p->step, out);
        return text_stream_close(a, &t);
    }
    const LibraryMemory library = library_memory(a, &c->build, p->net);
    if (c->make == MAKE_EXPLAIN)
        explain_text(a, p, &library, out);
    else
        explain_json(a, p, &library, out);
    return text_stream_close(a, &t);
}

static bool make(Arena *a, Diagnostics *d, const Command *c, const Spec *s, const Program *p)
{
    switch (c->make) {
    case MAKE_CHECK: spec_notes(a, d, s); return true;
    case MAKE_IR:
    case MAKE_EXPLAIN:
    case MAKE_EXPLAIN_JSON: return print_text(described(a, c, p));
    case MAKE_C: return make_folder(a, d, c, p);
    case MAKE_LIBRARY: return library_write(a, d, &c->build, p, &c->overrides, &c->trained);
    case MAKE_TUNE: return tune(a, &c->build, &c->overrides, p, c->seconds);
    case MAKE_PYTORCH:
    case MAKE_ONNX: break; /* need no program */
    case MAKE_PROGRAM:
        if (!generate(a, d, &c->build, s, p))
            return false;
        say_compiling(c, p);
        if (!build_program(a, &c->build, s))
            return false;
        say_progress(stderr, "%s: arena of %.1f MiB, peak of %.1f MiB in training; C in %s/", c->build.output,
                     (double)p->peak.arena / (1 << 20), (double)p->peak.total / (1 << 20), c->build.gen_dir);
        return true;
    }
    bug("nothing to make");
}

/* A folder of C looks for the library itself, where it is built. */
static bool settle_target(Arena *a, Diagnostics *d, Command *c, Spec *s)
{
    const bool compiles = c->make == MAKE_PROGRAM || c->make == MAKE_TUNE;
    c->build.is_folder = c->make == MAKE_C || c->make == MAKE_LIBRARY;
    target_processor(&c->build, &c->overrides, s);
    s->target.is_static = c->build.is_static;
    if (c->make != MAKE_PYTORCH && c->make != MAKE_ONNX && !target_check(a, d, &c->build, s, compiles))
        return false;
    if ((c->make == MAKE_LIBRARY || c->make == MAKE_ONNX) && s->target.precision == PRECISION_BFLOAT16)
        say("amdimc: note: %s: %s computes in float32, whatever target.precision says", s->source->name,
            c->make == MAKE_LIBRARY ? "a library" : "an ONNX graph");
    if (c->make == MAKE_ONNX)
        s->target.precision = PRECISION_FLOAT32;
    if (c->make == MAKE_LIBRARY || (!made_in_files(c->make) && target_is_bare(c->build.target))) {
        library_target(&c->build, s);
        return true;
    }
    return c->make == MAKE_C || c->make == MAKE_PYTORCH || c->make == MAKE_ONNX ||
           target_blas(a, &c->build, &c->overrides, s);
}

static const char *layers_text(Arena *a, const Net *n)
{
    TextStream t;
    explain_layers(a, n, text_stream_open(&t));
    return text_stream_close(a, &t);
}

static bool make_onnx(Arena *a, const Command *c, const Net *n)
{
    size_t count;
    const uint8_t *bytes = emit_onnx(a, n, c->trained.path, c->scale, &count);
    return bytes && build_write_bytes(a, &c->build, c->build.output, bytes, count);
}

/* The folder of the generated C is made, so that the program may be put beside it. */
static bool is_beside_c(Arena *a, const Command *c)
{
    const char *folder = parent_of(a, c->build.output);
    if (c->build.gen_dir)
        return !strcmp(folder, c->build.gen_dir);
    return !strncmp(folder, generated_folder, strlen(generated_folder)) &&
           !strchr(folder + strlen(generated_folder), '/');
}

/* Asked before anything is read: whoever mistypes a folder learns it at once. */
static bool has_place(Arena *a, const Command *c)
{
    Fault f;
    const char *output = c->build.output;
    if (c->build.gen_dir && !folder_may_be_made(c->build.gen_dir, &f))
        return build_fault(&f);
    if (c->make == MAKE_C || c->make == MAKE_LIBRARY)
        return folder_may_be_made(output, &f) || build_fault(&f);
    return (!made_in_files(c->make) && c->make != MAKE_TUNE) ||
           (c->make == MAKE_PROGRAM && is_beside_c(a, c)) || file_may_be_made(output, &f) || build_fault(&f);
}

static bool read_choices(Arena *a, Diagnostics *d, Command *c)
{
    const Choices *read = c->build.tuned ? tuned_read(a, d, c->build.tuned) : NULL;
    if (read)
        c->choices = *read;
    return read || !c->build.tuned;
}

static bool compile_and_make(Arena *a, Command *c)
{
    if (c->make == MAKE_TUNE && !c->build.output)
        c->build.output = tuned_path(a, c->spec);
    if (!has_place(a, c))
        return false;
    c->build.spec = c->spec;
    Diagnostics d = {.stream = stderr, .color = isatty(STDERR_FILENO)};
    Source *source = source_read(a, &d, c->spec);
    Spec *s = source ? spec_read(a, &d, source, &c->overrides) : NULL;
    Net *n = s ? net_shape(a, &d, s) : NULL;
    if (!n)
        return false;
    if (!net_resolve(a, &d, n)) {
        if (c->make == MAKE_EXPLAIN) /* what the encoder makes is what to look at now */
            print_text(layers_text(a, n));
        return false;
    }
    if (!settle_target(a, &d, c, s))
        return false;
    if (s->target.is_library) /* whose ranks are 1, whatever the spec's net was cut into */
        n = net_build(a, &d, s);
    if (!n)
        return false;
    if (c->build.is_folder)
        c->build.gen_dir = c->build.output;
    else if (!c->build.gen_dir)
        c->build.gen_dir = arena_printf(a, "%s%s", generated_folder, s->name.v);
    if (!build_locate(a, &c->build))
        return false;
    c->build.weights = c->trained.path;
    if ((c->make == MAKE_PROGRAM || c->make == MAKE_TUNE || c->make == MAKE_PYTORCH ||
         c->make == MAKE_ONNX) &&
        !build_may_write(a, &c->build, c->build.output))
        return false;
    if (c->make == MAKE_PYTORCH)
        return build_write_text(a, &c->build, c->build.output, emit_pytorch(a, n, c->build.templates));
    if (c->make == MAKE_ONNX)
        return make_onnx(a, c, n);
    if (!read_choices(a, &d, c))
        return false;
    if (c->make == MAKE_TUNE && !strcmp(s->target.blas.v, "openblas") &&
        !target_has(a, &c->build, LIBRARY_OPENBLAS)) {
        s->target.blas.v = "none"; /* no way is by a library that is not here */
        c->overrides.value[OVERRIDE_BLAS] = s->target.blas.v;
    }
    Program *p = compile(a, &d, n, &c->choices);
    if (!p)
        return false;
    if (c->build.tuned)
        tuned_note(&c->choices, c->build.tuned, p);
    if (c->build.target)
        p->triple = c->build.target;
    c->build.openblas = p->openblas;
    return make(a, &d, c, s, p);
}

int main(int argc, char **argv)
{
    standard_streams_open();
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too large is a write that fails */
    Command c = {.build = {.cc = getenv("AMDIMC_CC")}};
    if (!c.build.cc || !*c.build.cc)
        c.build.cc = "clang";
    if (argc > 1 && !strcmp(argv[1], "sweep"))
        return sweep(argc - 1, argv + 1);
    int code = parse(&c, argc, argv);
    if (code >= 0)
        return code;
    Arena *a = arena_new();
    bool done = compile_and_make(a, &c);
    arena_free(a);
    return done ? EXIT_DONE : EXIT_FAILED;
}
