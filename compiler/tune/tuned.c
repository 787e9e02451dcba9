/* tuned.c: a file of choices: YAML, whose list `products` has an item a product; what else it has is for
 * people.
 */
#include "spec/reader.h"
#include "tune.h"
#include <string.h>

enum { MOST_PRODUCTS = 65536, MOST_SLICES = 1024 };

typedef struct {
    Text product, layer, kernel;
    Int slices, outputs;
} Item;

static void read_known(Reader *r, const Node *n, const char *path, const char *wanted,
                       bool (*is_known)(const char *name), Text *into)
{
    if (read_text(r, n, path, wanted, into) && !is_known(into->v))
        problem_unwanted(r, n, path, wanted);
}

static void read_product(Reader *r, const Node *n, const char *path, void *record)
{
    read_known(r, n, path, "conv, conv_grad_x, conv_grad_w or another product", product_is_known,
               &((Item *)record)->product);
}

static void read_layer(Reader *r, const Node *n, const char *path, void *record)
{
    read_text(r, n, path, "a layer, as encoder.0,", &((Item *)record)->layer);
}

static void read_kernel(Reader *r, const Node *n, const char *path, void *record)
{
    read_known(r, n, path, "winograd, direct or another kernel", kernel_is_known, &((Item *)record)->kernel);
}

static const Field ITEM[] = {
    OTHER_FIELD("product", true, read_product),
    OTHER_FIELD("layer", true, read_layer),
    OTHER_FIELD("by", true, read_kernel),
    INT_FIELD("slices", false, Item, slices, 1, MOST_SLICES),
    INT_FIELD("outputs", false, Item, outputs, 2, 3),
};
static const Fields ITEM_FIELDS = FIELDS(ITEM);

static void check_new(Reader *r, const Choices *c, const Choice *choice, Mark at)
{
    for (int i = 0; i < c->count; i++)
        if (!strcmp(c->choice[i].product, choice->product) && !strcmp(c->choice[i].layer, choice->layer))
            problem(r, at, "products: %s of %s is given twice", choice->product, choice->layer);
}

/* Cuts that no kernel of that product makes would be left aside without a word. Files of before have slices
 * of scores' gradients, which meant nothing and still do. */
static void check_cuts(Reader *r, const Choice *c, Mark at)
{
    static const char *const by_slices[] = {"direct", "dots", "sparse", "tiles"};
    bool cuts = strncmp(c->product, "scores_grad", strlen("scores_grad")) == 0;
    for (size_t i = 0; i < COUNT(by_slices); i++)
        cuts |= !strcmp(c->product, "conv_grad_w") && !strcmp(c->kernel, by_slices[i]);
    if (c->outputs && strcmp(c->kernel, "winograd") != 0)
        problem(r, at, "products: outputs are of winograd's tiles, and %s of %s is by %s", c->product,
                c->layer, c->kernel);
    if (c->slices && !cuts)
        problem(
            r, at,
            "products: slices are of gradients of weights by direct, dots, sparse or tiles, not of %s by %s",
            c->product, c->kernel);
}

static void read_products(Reader *r, const Node *n, const char *path, void *record)
{
    Choices *c = record;
    if (!check_list(r, n, path, "a list of choices") || n->count == 0 ||
        !check_count(r, n, path, MOST_PRODUCTS))
        return;
    Choice *choice = ARENA_ARRAY(r->arena, Choice, n->count);
    c->choice = choice;
    int number = 0;
    for (const Node *item = n->first; item; item = item->next) {
        Item read = {0};
        const int before = r->problems;
        read_fields(r, item, arena_printf(r->arena, "%s[%d]", path, number++), &ITEM_FIELDS, &read);
        if (r->problems > before)
            continue;
        choice[c->count] =
            (Choice){read.product.v, read.layer.v, read.kernel.v, (int)read.slices.v, (int)read.outputs.v};
        check_new(r, c, &choice[c->count], item->at);
        check_cuts(r, &choice[c->count], item->at);
        c->count++;
    }
}

static void read_word(Reader *r, const Node *n, const char *path, void *record)
{
    (void)r, (void)n, (void)path, (void)record;
}

static const Field FILE_OF_CHOICES[] = {
    OTHER_FIELD("spec", false, read_word),     OTHER_FIELD("machine", false, read_word),
    OTHER_FIELD("compiler", false, read_word), OTHER_FIELD("measured", false, read_word),
    OTHER_FIELD("gain", false, read_word),     OTHER_FIELD("products", true, read_products),
};
static const Fields FILE_FIELDS = FIELDS(FILE_OF_CHOICES);

const Choices *tuned_read(Arena *a, Diagnostics *d, const char *path)
{
    Source *source = source_read(a, d, path);
    if (!source)
        return NULL;
    Reader r = {.arena = a, .source = source};
    Choices *c = ARENA_NEW(a, Choices);
    const Node *root = yaml_tree(&r, source);
    if (root)
        read_fields(&r, root, "", &FILE_FIELDS, c);
    problems_show(&r, d);
    return r.problems == 0 ? c : NULL;
}

/* ---- whether it fits ---- */

static bool is_followed(const Choice *c, const Graph *g)
{
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        if (op->chunk ? is_followed(c, op->chunk)
                      : !strcmp(c->product, op_name(op->kind)) && !strcmp(c->layer, op->label) &&
                            choice_is_made(c, op))
            return true;
    }
    return false;
}

void tuned_note(const Choices *c, const char *path, const Program *p)
{
    int followed = 0;
    for (int i = 0; i < c->count; i++)
        followed += is_followed(&c->choice[i], p->step);
    if (followed < c->count)
        say("amdimc: note: %d of the %d choices of %s are not for this spec on this processor, and count for "
            "nothing; `amdimc --tune` makes them anew",
            c->count - followed, c->count, path);
}

const char *tuned_path(Arena *a, const char *spec)
{
    static const char *const endings[] = {".yaml", ".yml"};
    size_t length = strlen(spec);
    for (size_t i = 0; i < COUNT(endings); i++) {
        const size_t tail = strlen(endings[i]);
        if (length > tail && !strcmp(spec + length - tail, endings[i]))
            length -= tail;
    }
    return arena_printf(a, "%s.tuned.yaml", arena_copy(a, spec, length));
}
