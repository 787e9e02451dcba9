/* main.c: the passes one after the other, as the command line wants them. */
#include "command_line.h"
#include "sweep/sweep.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char generated_folder[] = "generated/"; /* NAME/ is made in it */

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

/* Text goes to standard output unless a file is named for it. */
static bool makes_file(const Command *c)
{
    return c->make == MAKE_PROGRAM || c->make == MAKE_TUNE || c->make == MAKE_ONNX ||
           (is_text(c->make) && c->build.output);
}

static bool give_text(Arena *a, const Command *c, const char *text)
{
    return c->build.output ? build_write_text(a, &c->build, c->build.output, text) : print_text(text);
}

static bool make_of_program(Arena *a, Diagnostics *d, const Command *c, const Spec *s, const Program *p)
{
    switch (c->make) {
    case MAKE_CHECK: spec_notes(a, d, s); return true;
    case MAKE_IR:
    case MAKE_EXPLAIN:
    case MAKE_EXPLAIN_JSON: return give_text(a, c, described(a, c, p));
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
    if (c->make == MAKE_C && !target_has_system(a, &c->build))
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
    return !makes_file(c) || (c->make == MAKE_PROGRAM && is_beside_c(a, c)) || file_may_be_made(output, &f) ||
           build_fault(&f);
}

static bool read_choices(Arena *a, Diagnostics *d, Command *c)
{
    const Choices *read = c->build.tuned ? tuned_read(a, d, c->build.tuned) : NULL;
    if (read)
        c->choices = *read;
    return read || !c->build.tuned;
}

/* The command's spec, and its net; NULL where something is wrong with it. */
static Net *read_net(Arena *a, Diagnostics *d, const Command *c, Spec **s)
{
    Source *source = source_read(a, d, c->spec);
    *s = source ? spec_read(a, d, source, &c->overrides) : NULL;
    Net *n = *s ? net_shape(a, d, *s) : NULL;
    if (!n || net_resolve(a, d, n))
        return n;
    if (c->make == MAKE_EXPLAIN) /* what the encoder makes is what to look at now */
        print_text(layers_text(a, n));
    return NULL;
}

/* Where things come from and go. */
static bool settle_paths(Arena *a, Command *c, const Spec *s)
{
    if (c->build.is_folder)
        c->build.gen_dir = c->build.output;
    else if (!c->build.gen_dir)
        c->build.gen_dir = arena_printf(a, "%s%s", generated_folder, s->name.v);
    return build_locate(a, &c->build) && (!makes_file(c) || build_may_write(a, &c->build, c->build.output));
}

/* No way to make a product is by a library that is not here. */
static void tune_without_missing_library(Arena *a, Command *c, Spec *s)
{
    if (strcmp(s->target.blas.v, "openblas") != 0 || target_has(a, &c->build, LIBRARY_OPENBLAS))
        return;
    s->target.blas.v = "none";
    c->overrides.value[OVERRIDE_BLAS] = s->target.blas.v;
}

static bool make_program(Arena *a, Diagnostics *d, Command *c, Spec *s, Net *n)
{
    if (!read_choices(a, d, c))
        return false;
    if (c->make == MAKE_TUNE)
        tune_without_missing_library(a, c, s);
    Program *p = compile(a, d, n, &c->choices);
    if (!p)
        return false;
    if (c->build.tuned)
        tuned_note(&c->choices, c->build.tuned, p);
    if (c->build.target)
        p->triple = c->build.target;
    c->build.openblas = p->openblas;
    return make_of_program(a, d, c, s, p);
}

static bool compile_and_make(Arena *a, Command *c)
{
    Diagnostics d = {.stream = stderr, .color = isatty(STDERR_FILENO)};
    if (c->make == MAKE_TUNE && !c->build.output)
        c->build.output = tuned_path(a, c->spec);
    if (!has_place(a, c))
        return false;
    c->build.spec = c->spec;
    c->build.weights = c->trained.path;
    Spec *s;
    Net *n = read_net(a, &d, c, &s);
    if (!n || !settle_target(a, &d, c, s))
        return false;
    if (s->target.is_library && !(n = net_build(a, &d, s))) /* of one rank, whatever the net was cut into */
        return false;
    if (!settle_paths(a, c, s))
        return false;
    if (c->make == MAKE_PYTORCH)
        return give_text(a, c, emit_pytorch(a, n, c->build.templates));
    if (c->make == MAKE_ONNX)
        return make_onnx(a, c, n);
    return make_program(a, &d, c, s, n);
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
    int code = command_parse(&c, argc, argv);
    if (code != GO_ON)
        return code;
    Arena *a = arena_new();
    bool done = compile_and_make(a, &c);
    arena_free(a);
    return done ? EXIT_DONE : EXIT_FAILED;
}
