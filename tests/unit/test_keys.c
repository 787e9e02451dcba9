/* test_keys.c: every key of the language reaches all that is made of a spec.
 *
 * The tables of the reader say which keys there are: read_fields and read_variant are wrapped by the linker
 * and note what they are given. Each has a row here, or keys below it have: two lines of a spec that differ
 * in it alone, and what must differ of what is made of them. A key without a row fails, and so does one that
 * some pass forgets: the digest by which runs are resumed, what --explain shows, the C, PyTorch, a library.
 */
#include "amdimc.h"
#include "library/library.h"
#include "spec/reader.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a spec of one line a section ---- */

typedef enum {
    NAME,
    INPUT,
    VIEWS,
    BATCH,
    ENCODER,
    EMBEDDING,
    LOSS,
    AUGMENT,
    OPTIMIZER,
    SCHEDULE,
    TARGET,
    SECTIONS
} Section;

/* A last layer that makes 1x1 of any map from 2x2 to 17x17. */
#define LAYER(text) "encoder: [{" text "}, {residual: {out: 8, kernel: 2, stride: 16}}]"

static const char *const usual[SECTIONS] = {
    "name: keys",
    "input: {size: 8}",
    "views: 2",
    "batch: 4",
    LAYER("conv: {out: 4, kernel: 3}"),
    "embedding: {dim: 6}",
    "loss: {pairs: [1-to-1]}",
    "augment: {}",
    "optimizer: {adam: {}}",
    "schedule: {}",
    "target: {threads: 2}",
};

/* What tells two specs apart that differ in a key. */
enum {
    DIGEST = 1,  /* they are not one training */
    SHOWN = 2,   /* --explain, info and the report */
    PROGRAM = 4, /* the C of the program, but for what it says of itself */
    MODULE = 8,  /* the one for PyTorch */
    LIBRARY = 16,
    TRAINING = DIGEST | SHOWN | PROGRAM,
    MODEL = TRAINING | MODULE | LIBRARY,
    PICTURES = TRAINING | LIBRARY
};

typedef struct {
    const char *key;
    Section section;
    int reaches;
    const char *before, *after; /* the section's line; before: NULL for the usual one */
} Row;

static const Row rows[] = {
    {"name", NAME, 0, NULL, "name: other"},
    {"input.channels", INPUT, MODEL, NULL, "input: {size: 8, channels: 1}"},
    {"input.size", INPUT, MODEL, NULL, "input: {size: 9}"},
    {"input.mean", INPUT, PICTURES, NULL, "input: {size: 8, mean: [0, 0.5, 0]}"},
    {"input.std", INPUT, PICTURES, NULL, "input: {size: 8, std: [1, 0.5, 1]}"},
    {"views", VIEWS, MODEL, NULL, "views: 1"},
    {"batch", BATCH, TRAINING | LIBRARY, NULL, "batch: 5"},

    {"encoder.conv.out", ENCODER, MODEL, NULL, LAYER("conv: {out: 5, kernel: 3}")},
    {"encoder.conv.kernel", ENCODER, MODEL, NULL, LAYER("conv: {out: 4, kernel: 2}")},
    {"encoder.conv.stride", ENCODER, MODEL, NULL, LAYER("conv: {out: 4, kernel: 3, stride: 2}")},
    {"encoder.conv.pad", ENCODER, MODEL, NULL, LAYER("conv: {out: 4, kernel: 3, pad: 1}")},
    {"encoder.conv.batchnorm", ENCODER, MODEL, NULL, LAYER("conv: {out: 4, kernel: 3, batchnorm: true}")},
    {"encoder.conv.pad_mode", ENCODER, MODEL, LAYER("conv: {out: 4, kernel: 3, pad: 1}"),
     LAYER("conv: {out: 4, kernel: 3, pad: 1, pad_mode: reflect}")},
    {"encoder.conv.activation", ENCODER, MODEL, NULL, LAYER("conv: {out: 4, kernel: 3, activation: none}")},

#define RESIDUAL(more) LAYER("residual: {out: 4, kernel: 2" more "}")
    {"encoder.residual", ENCODER, MODEL, NULL, RESIDUAL("")},
    {"encoder.residual.out", ENCODER, MODEL, RESIDUAL(""), LAYER("residual: {out: 5, kernel: 2}")},
    {"encoder.residual.kernel", ENCODER, MODEL, RESIDUAL(""), LAYER("residual: {out: 4, kernel: 3}")},
    {"encoder.residual.stride", ENCODER, MODEL, RESIDUAL(""), RESIDUAL(", stride: 2")},
    {"encoder.residual.pad", ENCODER, MODEL, RESIDUAL(""), RESIDUAL(", pad: 1")},
    {"encoder.residual.batchnorm", ENCODER, MODEL, RESIDUAL(""), RESIDUAL(", batchnorm: true")},

#define BLOCK(more) LAYER("block: {out: 4, kernel: 2, depth: 1" more "}")
    {"encoder.block", ENCODER, MODEL, NULL, BLOCK("")},
    {"encoder.block.out", ENCODER, MODEL, BLOCK(""), LAYER("block: {out: 5, kernel: 2, depth: 1}")},
    {"encoder.block.kernel", ENCODER, MODEL, BLOCK(""), LAYER("block: {out: 4, kernel: 3, depth: 1}")},
    {"encoder.block.depth", ENCODER, MODEL, BLOCK(""), LAYER("block: {out: 4, kernel: 2, depth: 2}")},
    {"encoder.block.stride", ENCODER, MODEL, BLOCK(""), BLOCK(", stride: 2")},
    {"encoder.block.pad", ENCODER, MODEL, BLOCK(""), BLOCK(", pad: 1")},
    {"encoder.block.batchnorm", ENCODER, MODEL, BLOCK(""), BLOCK(", batchnorm: true")},

#define POOL(more) LAYER("pool: {kernel: 2" more "}")
    {"encoder.pool", ENCODER, MODEL, NULL, POOL("")},
    {"encoder.pool.kernel", ENCODER, MODEL, POOL(", stride: 2"), LAYER("pool: {kernel: 3, stride: 2}")},
    {"encoder.pool.stride", ENCODER, MODEL, POOL(""), POOL(", stride: 1")},
    {"encoder.pool.pad", ENCODER, MODEL, POOL(""), POOL(", pad: 1")},
    {"encoder.pool.kind", ENCODER, MODEL, POOL(""), POOL(", kind: max")},
    {"encoder.batchnorm", ENCODER, MODEL, NULL, LAYER("batchnorm: {}")},

#define MIXTURE(more) "embedding: {dim: 6, mixture: {components: 2" more "}}"
    {"embedding.dim", EMBEDDING, MODEL, NULL, "embedding: {dim: 5}"},
    {"embedding.batchnorm", EMBEDDING, MODEL, NULL, "embedding: {dim: 6, batchnorm: true}"},
    {"embedding.mixture", EMBEDDING, MODEL, NULL, MIXTURE("")},
    {"embedding.mixture.components", EMBEDDING, MODEL, MIXTURE(""),
     "embedding: {dim: 6, mixture: {components: 3}}"},
    {"embedding.mixture.hidden", EMBEDDING, MODEL, MIXTURE(""), MIXTURE(", hidden: 7")},
    {"embedding.mixture.temperature", EMBEDDING, MODEL, MIXTURE(""), MIXTURE(", temperature: 0.5")},

    {"loss.pairs", LOSS, MODEL, NULL, "loss: {pairs: [1-to-1, 1-to-6]}"},
    {"loss.pairs.pair", LOSS, MODEL, "loss: {pairs: [{pair: 1-to-6}]}", "loss: {pairs: [{pair: 6-to-1}]}"},
    {"loss.pairs.weight", LOSS, MODEL & ~SHOWN, NULL, "loss: {pairs: [{pair: 1-to-1, weight: 2}]}"},
    {"loss.clip", LOSS, MODEL, NULL, "loss: {pairs: [1-to-1], clip: 19}"},
    {"loss.penalty", LOSS, MODEL, NULL, "loss: {pairs: [1-to-1], penalty: 0.5}"},

#define STEP(name, more) "augment: {" name ": {" more "}}"
    {"augment.flip", AUGMENT, PICTURES, NULL, "augment: {flip: 0.5}"},
    {"augment.crop", AUGMENT, PICTURES, NULL, STEP("crop", "")},
    {"augment.crop.scale", AUGMENT, PICTURES, STEP("crop", ""), STEP("crop", "scale: [0.5, 1]")},
    {"augment.crop.ratio", AUGMENT, PICTURES, STEP("crop", ""), STEP("crop", "ratio: [0.5, 1]")},
    {"augment.crop.p", AUGMENT, PICTURES, STEP("crop", ""), STEP("crop", "p: 0.5")},
    {"augment.translate", AUGMENT, PICTURES, NULL, STEP("translate", "max: 2")},
    {"augment.translate.max", AUGMENT, PICTURES, STEP("translate", "max: 2"), STEP("translate", "max: 3")},
    {"augment.translate.p", AUGMENT, PICTURES, STEP("translate", "max: 2"),
     STEP("translate", "max: 2, p: 0.5")},
    {"augment.jitter", AUGMENT, PICTURES, NULL, STEP("jitter", "hue: 0.1")},
    {"augment.jitter.brightness", AUGMENT, PICTURES, STEP("jitter", ""), STEP("jitter", "brightness: 0.1")},
    {"augment.jitter.contrast", AUGMENT, PICTURES, STEP("jitter", ""), STEP("jitter", "contrast: 0.1")},
    {"augment.jitter.saturation", AUGMENT, PICTURES, STEP("jitter", ""), STEP("jitter", "saturation: 0.1")},
    {"augment.jitter.hue", AUGMENT, PICTURES, STEP("jitter", ""), STEP("jitter", "hue: 0.1")},
    {"augment.jitter.p", AUGMENT, PICTURES, STEP("jitter", "hue: 0.1"), STEP("jitter", "hue: 0.1, p: 0.5")},
    {"augment.grayscale", AUGMENT, PICTURES, NULL, "augment: {grayscale: 0.5}"},
    {"augment.blur", AUGMENT, PICTURES, NULL, STEP("blur", "")},
    {"augment.blur.p", AUGMENT, PICTURES, STEP("blur", ""), STEP("blur", "p: 0.5")},
    {"augment.blur.sigma", AUGMENT, PICTURES, STEP("blur", ""), STEP("blur", "sigma: [0.2, 0.5]")},
    {"augment.solarize", AUGMENT, PICTURES, NULL, STEP("solarize", "")},
    {"augment.solarize.p", AUGMENT, PICTURES, STEP("solarize", ""), STEP("solarize", "p: 0.5")},
    {"augment.solarize.threshold", AUGMENT, PICTURES, STEP("solarize", ""),
     STEP("solarize", "threshold: 0.25")},

#define ADAM(more) "optimizer: {adam: {" more "}}"
#define SGD(more)  "optimizer: {sgd: {" more "}}"
    {"optimizer.adam", OPTIMIZER, TRAINING | LIBRARY, SGD(""), ADAM("")},
    /* Who trains by a library gives it the rate. */
    {"optimizer.adam.lr", OPTIMIZER, TRAINING, NULL, ADAM("lr: 1e-3")},
    {"optimizer.adam.betas", OPTIMIZER, TRAINING | LIBRARY, NULL, ADAM("betas: [0.9, 0.99]")},
    {"optimizer.adam.eps", OPTIMIZER, TRAINING | LIBRARY, NULL, ADAM("eps: 1e-7")},
    {"optimizer.adam.weight_decay", OPTIMIZER, TRAINING | LIBRARY, NULL, ADAM("weight_decay: 1e-4")},
    {"optimizer.adam.decoupled", OPTIMIZER, TRAINING | LIBRARY, NULL, ADAM("decoupled: true")},
    {"optimizer.sgd.lr", OPTIMIZER, TRAINING, SGD(""), SGD("lr: 1e-3")},
    {"optimizer.sgd.momentum", OPTIMIZER, TRAINING | LIBRARY, SGD(""), SGD("momentum: 0.5")},
    {"optimizer.sgd.weight_decay", OPTIMIZER, TRAINING | LIBRARY, SGD(""), SGD("weight_decay: 1e-3")},

    {"schedule.epochs", SCHEDULE, TRAINING, NULL, "schedule: {epochs: 3}"},
    {"schedule.warmup", SCHEDULE, TRAINING, NULL, "schedule: {warmup: 3}"},
    {"schedule.milestones", SCHEDULE, TRAINING, NULL, "schedule: {milestones: [3]}"},
    {"schedule.gamma", SCHEDULE, TRAINING, NULL, "schedule: {gamma: 0.5}"},
    {"schedule.cosine", SCHEDULE, TRAINING, NULL, "schedule: {cosine: 0.5}"},

    /* What of it reaches a program is clang's and the planner's: test_emit_c, test_memory. */
    {"target.march", TARGET, SHOWN, NULL, "target: {threads: 2, march: x86-64}"},
    {"target.threads", TARGET, SHOWN, NULL, "target: {threads: 3}"},
    {"target.blas", TARGET, SHOWN, NULL, "target: {threads: 2, blas: none}"},
    {"target.memory", TARGET, SHOWN, NULL, "target: {threads: 2, memory: 1GiB}"},
    {"target.precision", TARGET, TRAINING, NULL, "target: {threads: 2, precision: bfloat16}"},
    {"target.ranks", TARGET, TRAINING, NULL, "target: {threads: 2, ranks: 2}"},
};

/* ---- the keys that the reader knows ---- */

enum { KEYS_MOST = 512, KEY_LENGTH = 64 };
static char known[KEYS_MOST][KEY_LENGTH];
static int keys;

static bool is_known(const char *key)
{
    for (int i = 0; i < keys; i++)
        if (strcmp(known[i], key) == 0)
            return true;
    return false;
}

/* "encoder[0].conv", "out" -> "encoder.conv.out". */
static void join_key(char key[KEY_LENGTH], const char *path, const char *last)
{
    size_t length = 0;
    for (const char *p = path; *p; p++) {
        if (*p == '[')
            p = strchr(p, ']');
        else if (length < KEY_LENGTH - 1)
            key[length++] = *p;
    }
    snprintf(key + length, KEY_LENGTH - length, "%s%s", length ? "." : "", last);
}

static void note_keys(const char *path, const Fields *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        const Field *f = &fields->field[i];
        char key[KEY_LENGTH];
        join_key(key, path, f->key);
        if (!is_known(key)) {
            assert_true(keys < KEYS_MOST);
            strcpy(known[keys++], key);
        }
        if (f->kind == FIELD_SECTION)
            note_keys(key, f->section);
    }
}

bool __real_read_fields(Reader *r, const Node *n, const char *path, const Fields *fields, void *record);
bool __wrap_read_fields(Reader *r, const Node *n, const char *path, const Fields *fields, void *record);
bool __wrap_read_fields(Reader *r, const Node *n, const char *path, const Fields *fields, void *record)
{
    note_keys(path, fields);
    return __real_read_fields(r, n, path, fields, record);
}

void __real_read_variant(Reader *r, const Node *n, const char *path, const Fields *fields, void *record);
void __wrap_read_variant(Reader *r, const Node *n, const char *path, const Fields *fields, void *record);
void __wrap_read_variant(Reader *r, const Node *n, const char *path, const Fields *fields, void *record)
{
    note_keys(path, fields);
    __real_read_variant(r, n, path, fields, record);
}

/* ---- what is made of a spec ---- */

typedef struct {
    Arena *arena;
    const char *digest, *shown, *program, *module, *library;
} Made;

/* Without what a program says of its spec: the lines of tables of words, and of its digest. */
static char *without_words(Arena *a, const char *text)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    bool in_words = false;
    for (const char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        end += *end == '\n';
        const bool begins = strncmp(line, "static const char *const settings[]", 35) == 0 ||
                            strncmp(line, "static const AmdimKey keys[]", 28) == 0;
        const char *const digest = strstr(line, ".digest = ");
        in_words = in_words ? strncmp(line, "};", 2) != 0 : begins;
        if (!in_words && !(digest && digest < end) && strncmp(line, "    .settings = ", 16) != 0)
            fwrite(line, 1, (size_t)(end - line), out);
    }
    return text_stream_close(a, &t);
}

static Diagnostics said;

static const Net *net_of(Made *m, const char *text, bool is_library)
{
    said.stream = stderr;
    Source *source = ARENA_NEW(m->arena, Source);
    *source = (Source){"keys.yaml", text, strlen(text)};
    Spec *s = spec_read(m->arena, &said, source, &(Overrides){0});
    if (!s)
        fail_msg("no spec:\n%s", text);
    if (is_library)
        library_target(&(Build){0}, s);
    const Net *n = net_build(m->arena, &said, s);
    assert_non_null(n);
    return n;
}

static const char *shown_of(Arena *a, const Net *n)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    int count;
    const KeyValue *setting = spec_settings(a, n->spec, true, &count);
    for (int i = 0; i < count; i++)
        fprintf(out, "%s: %s\n", setting[i].key, setting[i].value ? setting[i].value : "off");
    for (int i = 0; i < n->pairs; i++)
        fprintf(out, "%s\n", n->pair[i].name);
    explain_layers(a, n, out);
    return text_stream_close(a, &t);
}

static const char *library_of(Made *m, const char *text)
{
    const ModelLibrary l = {.program = compile(m->arena, &said, net_of(m, text, true), NULL),
                            .name = "keys",
                            .upper = "KEYS",
                            .spec = "keys.yaml",
                            .overrides = "",
                            .templates = "templates",
                            .runtime = "runtime"};
    return emit_library(m->arena, &l);
}

static Made make(const char *text, int reaches)
{
    Made m = {.arena = arena_new()};
    const Net *n = net_of(&m, text, false);
    m.digest = spec_canonical(m.arena, n->spec);
    m.shown = shown_of(m.arena, n);
    if (reaches & PROGRAM)
        m.program = without_words(m.arena, emit_model(m.arena, compile(m.arena, &said, n, NULL)));
    if (reaches & MODULE)
        m.module = emit_pytorch(m.arena, n, "templates");
    if (reaches & LIBRARY)
        m.library = library_of(&m, text);
    return m;
}

/* ---- the tests ---- */

static char *spec_of(const Row *row, const char *line)
{
    static char text[2][2048];
    static int turn;
    char *to = text[turn = !turn];
    size_t length = 0;
    for (int i = 0; i < SECTIONS; i++)
        length += (size_t)snprintf(to + length, sizeof text[0] - length, "%s\n",
                                   i == (int)row->section && line ? line : usual[i]);
    return to;
}

/* Says so where it does not, and goes on, for one key may be forgotten in several places. */
static bool reaches(const Row *row, int what, const char *where, const char *before, const char *after)
{
    const bool does = !(row->reaches & what) || strcmp(before, after) != 0;
    if (!does)
        print_error("%s does not reach %s\n", row->key, where);
    return does;
}

static void every_key_reaches_what_is_made(void **state)
{
    (void)state;
    bool all = true;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const Row *row = &rows[i];
        Made before = make(spec_of(row, row->before), row->reaches),
             after = make(spec_of(row, row->after), row->reaches);
        all &= reaches(row, DIGEST, "the digest (canonical.c)", before.digest, after.digest);
        all &= reaches(row, SHOWN, "what is shown (settings.c, layer_text)", before.shown, after.shown);
        all &= reaches(row, PROGRAM, "the program's C", before.program, after.program);
        all &= reaches(row, MODULE, "the module for PyTorch", before.module, after.module);
        all &= reaches(row, LIBRARY, "a library", before.library, after.library);
        if (!(row->reaches & DIGEST)) /* such runs go on with each other */
            assert_string_equal(before.digest, after.digest);
        arena_free(before.arena);
        arena_free(after.arena);
    }
    assert_true(all);
}

/* Whether a row is for the key, or for one below it. */
static bool has_row(const char *key)
{
    const size_t length = strlen(key);
    for (size_t i = 0; i < COUNT(rows); i++)
        if (strncmp(rows[i].key, key, length) == 0 && (!rows[i].key[length] || rows[i].key[length] == '.'))
            return true;
    return false;
}

/* After all rows have been read, and with them every table. */
static void every_key_has_a_row(void **state)
{
    (void)state;
    assert_true(keys > 0);
    for (int i = 0; i < keys; i++)
        if (!has_row(known[i]))
            fail_msg("%s: test_keys has no row that says what it must reach", known[i]);
    for (size_t i = 0; i < COUNT(rows); i++)
        if (!is_known(rows[i].key))
            fail_msg("%s is no key of the language", rows[i].key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_reaches_what_is_made),
        cmocka_unit_test(every_key_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
