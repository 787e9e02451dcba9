/* cmd_info.c: what the program was compiled from, for people or as JSON. It allocates nothing and reads no
 * file. */
#include "runtime.h"
#include <string.h>

/* Numbers that are really trained, without the padding between tensors. */
static size_t parameters(const AmdimModel *m)
{
    size_t sum = 0;
    for (int i = 0; i < m->tensors; i++)
        sum += m->tensor[i].trained ? m->tensor[i].count : 0;
    return sum;
}

/* In as many lines as they need, broken between keys. */
static void print_keys(const AmdimModel *m, const char *section)
{
    enum { INDENT = 14, WIDTH = 100 };
    char text[KEYS_TEXT], *rest = NULL;
    int column = printf("  %-10s ", section);
    keys_describe(m, section, text, sizeof text);
    for (char *key = strtok_r(text, ";", &rest); key; key = strtok_r(NULL, ";", &rest)) {
        if (column > INDENT && column + (int)strlen(key) + 1 > WIDTH)
            column = printf(",\n%*s", INDENT - 1, "") - 2;
        else if (column > INDENT)
            column += printf(",");
        column += printf(" %s", key + (*key == ' '));
    }
    printf("\n");
}

static void print_text(const AmdimModel *m)
{
    printf("%s\n", m->name);
    printf("  spec        %s, digest %s\n", m->spec, m->digest);
    printf("  compiled    by %s and %s\n", m->compiler, m->cc);
    printf("  for         %s, march %s%s, blas %s, precision %s, %d threads\n", m->target, m->march,
           m->tiles ? " with matrix tiles" : "", m->blas, m->precision, m->threads);
    printf("  input       %d x %d, %d channels, %d views, batch %d\n", m->size, m->size, m->channels,
           m->views, m->batch);
    if (m->shares > 1)
        printf("  ranks       %d, of %d images each\n", m->shares, m->batch / m->shares);
    printf("  pairs      ");
    for (int i = 0; i < m->pairs; i++)
        printf("%s %s (weight %g)", i ? "," : "", m->pair[i].name, m->pair[i].weight);
    printf("\n");
    for (int i = 0; i < m->scales; i++) {
        const AmdimLayer *l = &m->layer[m->scale[i].layer];
        printf("  scale %-5d encoder layer %d, %d channels, sees %d pixels every %d\n", l->side, l->number,
               l->channels, l->receptive_field, l->receptive_stride);
    }
    if (m->mixture.components)
        printf("  mixture     %d components of scale 1, hidden %d, temperature %g\n", m->mixture.components,
               m->mixture.hidden, m->mixture.temperature);
    print_keys(m, "augment");
    print_keys(m, "optimizer");
    print_keys(m, "schedule");
    printf("  parameters  %zu trained; embeddings of %d\n", parameters(m), m->embedding_dim);
    printf("  memory      %.1f MiB arena, %.1f MiB at most while training\n",
           (double)m->arena_bytes / MEBIBYTE, (double)m->peak_bytes / MEBIBYTE);
}

/* By key, off ones null; and which of them are defaults. Values are JSON as they stand. */
static void print_json_keys(const AmdimModel *m)
{
    int defaults = 0;
    printf("\"keys\": {");
    for (int i = 0; i < m->keys; i++)
        printf("%s\"%s\": %s", i ? ", " : "", m->key[i].name, m->key[i].value ? m->key[i].value : "null");
    printf("}, \"defaults\": [");
    for (int i = 0; i < m->keys; i++)
        if (!m->key[i].given)
            printf("%s\"%s\"", defaults++ ? ", " : "", m->key[i].name);
    printf("], ");
}

/* One number a channel, with all the digits that a float32 has. */
static void print_channels(const char *key, const float *value, int channels)
{
    printf("\"%s\": [", key);
    for (int c = 0; c < channels; c++)
        printf("%s%.9g", c ? ", " : "", (double)value[c]);
    printf("], ");
}

static void print_json(const AmdimModel *m)
{
    const struct {
        const char *key, *text;
    } texts[] = {{"name", m->name},         {"spec", m->spec}, {"digest", m->digest},
                 {"compiler", m->compiler}, {"cc", m->cc},     {"march", m->march},
                 {"target", m->target},     {"blas", m->blas}, {"precision", m->precision}};

    printf("{");
    for (size_t i = 0; i < COUNT(texts); i++) {
        printf("\"%s\": ", texts[i].key);
        json_text(stdout, texts[i].text);
        printf(", ");
    }
    printf("\"tiles\": %s, \"threads\": %d, \"views\": %d, \"batch\": %d, \"channels\": %d, \"size\": %d, "
           "\"embedding_dim\": %d, \"ranks\": %d, ",
           m->tiles ? "true" : "false", m->threads, m->views, m->batch, m->channels, m->size,
           m->embedding_dim, m->shares > 1 ? m->shares : 1);
    print_channels("mean", m->mean, m->channels);
    print_channels("std", m->std, m->channels);
    if (m->mixture.components)
        printf("\"mixture\": {\"components\": %d, \"hidden\": %d, \"temperature\": %.17g}, ",
               m->mixture.components, m->mixture.hidden, m->mixture.temperature);
    print_json_keys(m);
    printf("\"pairs\": [");
    for (int i = 0; i < m->pairs; i++)
        printf("%s{\"pair\": \"%s\", \"weight\": %.17g}", i ? ", " : "", m->pair[i].name, m->pair[i].weight);
    printf("], \"layers\": [");
    for (int i = 0; i < m->layers; i++) {
        const AmdimLayer *l = &m->layer[i];
        printf("%s{\"kind\": \"%s\", \"number\": %d, \"side\": %d, \"channels\": %d, "
               "\"kernel\": %d, \"stride\": %d, \"pad\": %d, \"depth\": %d, "
               "\"receptive_field\": %d, \"receptive_stride\": %d, \"receptive_begin\": %d}",
               i ? ", " : "", l->kind, l->number, l->side, l->channels, l->kernel, l->stride, l->pad,
               l->depth, l->receptive_field, l->receptive_stride, l->receptive_begin);
    }
    printf("], \"scales\": [");
    for (int i = 0; i < m->scales; i++) {
        const AmdimLayer *l = &m->layer[m->scale[i].layer];
        printf("%s{\"scale\": %d, \"layer\": %d, \"channels\": %d, \"receptive_field\": %d, "
               "\"receptive_stride\": %d}",
               i ? ", " : "", l->side, l->number, l->channels, l->receptive_field, l->receptive_stride);
    }
    printf("], \"parameters\": %zu, \"arena_bytes\": %zu, \"peak_bytes\": %zu}\n", parameters(m),
           m->arena_bytes, m->peak_bytes);
}

int command_info(const AmdimModel *m, const Options *o, Fault *f)
{
    (void)f;
    if (o->json)
        print_json(m);
    else
        print_text(m);
    return 0;
}
