/* onnx.c: the trained encoder as an ONNX graph. The forward operations of the encoders become nodes, an
 * operation one to three of them; maps are (N, C, S, S) there, weights as files have them. */
#include "amdimc.h"
#include "emit.h"
#include "onnx.pb-c.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "a tensor's bytes are written as they lie in memory");

enum { IR_VERSION = 8, OPSET = 17 };

typedef struct {
    Arena *arena;
    const Graph *g;
    const Params *params;
    float **value; /* of every parameter, in PyTorch's order */
    Onnx__Graph graph;
    int node_capacity, tensor_capacity;
} Onnx;

/* ---- arrays that grow ---- */

#define APPEND(o, Type, array, count, capacity, item)                                                        \
    do {                                                                                                     \
        if ((int)(count) == (capacity)) {                                                                    \
            (capacity) = (capacity) ? 2 * (capacity) : 64;                                                   \
            Type **more_ = ARENA_ARRAY((o)->arena, Type *, capacity);                                        \
            for (size_t i_ = 0; i_ < (count); i_++)                                                          \
                more_[i_] = (array)[i_];                                                                     \
            (array) = more_;                                                                                 \
        }                                                                                                    \
        (array)[(count)++] = (item);                                                                         \
    } while (0)

/* Protobuf's texts are not constant. */
static char *text(Onnx *o, const char *s)
{
    return arena_copy(o->arena, s, strlen(s));
}

/* ---- tensors ---- */

static void add_tensor(Onnx *o, const char *name, int type, int rank, const int64_t *dims, const void *data,
                       size_t bytes)
{
    Onnx__Tensor *t = ARENA_NEW(o->arena, Onnx__Tensor);
    onnx__tensor__init(t);
    t->name = text(o, name);
    t->data_type = type;
    t->n_dims = (size_t)rank;
    t->dims = ARENA_ARRAY(o->arena, int64_t, rank ? rank : 1);
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    t->raw_data.len = bytes;
    t->raw_data.data = (uint8_t *)arena_copy(o->arena, data, bytes);
    APPEND(o, Onnx__Tensor, o->graph.initializer, o->graph.n_initializer, o->tensor_capacity, t);
}

static bool has_tensor(const Onnx *o, const char *name)
{
    for (size_t i = 0; i < o->graph.n_initializer; i++)
        if (!strcmp(o->graph.initializer[i]->name, name))
            return true;
    return false;
}

/* A parameter's name, which is its tensor's. */
static const char *param(Onnx *o, const Value *v)
{
    const Param *p = v->param;
    int64_t dims[4];
    for (int i = 0; i < p->rank; i++)
        dims[i] = p->dims[i];
    if (!has_tensor(o, p->name))
        add_tensor(o, p->name, ONNX__NUMBER_TYPE__FLOAT32, p->rank, dims, o->value[p->index],
                   p->count * sizeof(float));
    return p->name;
}

static const char *integers(Onnx *o, const char *name, const int64_t *value, int count)
{
    add_tensor(o, name, ONNX__NUMBER_TYPE__INT64, 1, (int64_t[]){count}, value,
               (size_t)count * sizeof *value);
    return name;
}

/* ---- nodes ---- */

/* `inputs` are names up to a NULL. */
static Onnx__Node *add_node(Onnx *o, const char *type, const char *name, const char *const *inputs,
                            const char *output)
{
    enum { ATTRIBUTES = 4 };
    Onnx__Node *n = ARENA_NEW(o->arena, Onnx__Node);
    onnx__node__init(n);
    n->op_type = text(o, type);
    n->name = text(o, name);
    while (inputs[n->n_input])
        n->n_input++;
    n->input = ARENA_ARRAY(o->arena, char *, n->n_input);
    for (size_t i = 0; i < n->n_input; i++)
        n->input[i] = text(o, inputs[i]);
    n->n_output = 1;
    n->output = ARENA_ARRAY(o->arena, char *, 1);
    n->output[0] = text(o, output);
    n->attribute = ARENA_ARRAY(o->arena, Onnx__Attribute *, ATTRIBUTES);
    APPEND(o, Onnx__Node, o->graph.node, o->graph.n_node, o->node_capacity, n);
    return n;
}

#define NODE(o, type, name, output, ...)                                                                     \
    add_node(o, type, name, (const char *const[]){__VA_ARGS__, NULL}, output)

static Onnx__Attribute *add_attribute(Onnx *o, Onnx__Node *n, const char *name, Onnx__AttributeType type)
{
    Onnx__Attribute *a = n->attribute[n->n_attribute++] = ARENA_NEW(o->arena, Onnx__Attribute);
    onnx__attribute__init(a);
    a->name = text(o, name);
    a->type = type;
    return a;
}

static void add_int(Onnx *o, Onnx__Node *n, const char *name, int value)
{
    add_attribute(o, n, name, ONNX__ATTRIBUTE_TYPE__INT)->i = value;
}

/* The same number `count` times, one an axis. */
static void add_ints(Onnx *o, Onnx__Node *n, const char *name, int value, int count)
{
    Onnx__Attribute *a = add_attribute(o, n, name, ONNX__ATTRIBUTE_TYPE__INTS);
    a->n_ints = (size_t)count;
    a->ints = ARENA_ARRAY(o->arena, int64_t, count);
    for (int i = 0; i < count; i++)
        a->ints[i] = value;
}

static void add_window(Onnx *o, Onnx__Node *n, const Op *op)
{
    add_ints(o, n, "kernel_shape", op->kernel, 2);
    add_ints(o, n, "strides", op->stride, 2);
}

static const char *suffixed(Onnx *o, const char *name, const char *suffix)
{
    return arena_printf(o->arena, "%s%s", name, suffix);
}

/* The last node of an operation, a ReLU, where it has one: `result` is what the one before gives. */
static const char *before_relu(Onnx *o, const Op *op)
{
    return op->relu ? suffixed(o, op->out[0]->name, "_before_relu") : op->out[0]->name;
}

static void add_relu(Onnx *o, const Op *op)
{
    if (op->relu)
        NODE(o, "Relu", suffixed(o, op->label, ".relu"), op->out[0]->name, before_relu(o, op));
}

/* ---- operations ---- */

static void write_pad(Onnx *o, const Op *op)
{
    const int64_t pads[] = {0, 0, op->pad, op->pad, 0, 0, op->pad, op->pad};
    const char *label = suffixed(o, op->label, ".pad");
    Onnx__Node *n = NODE(o, "Pad", label, op->out[0]->name, op->in[PAD_X]->name,
                         integers(o, suffixed(o, label, ".pads"), pads, COUNT(pads)));
    Onnx__Attribute *mode = add_attribute(o, n, "mode", ONNX__ATTRIBUTE_TYPE__STRING);
    const char *name = op->reflect ? "reflect" : "constant";
    mode->s.data = (uint8_t *)text(o, name);
    mode->s.len = strlen(name);
}

static void write_conv(Onnx *o, const Op *op)
{
    const Value *bias = op->in[CONV_BIAS], *addend = op->in[CONV_ADDEND];
    const char *result = before_relu(o, op),
               *product = addend ? suffixed(o, op->out[0]->name, "_product") : result;
    const char *inputs[] = {op->in[CONV_X]->name, param(o, op->in[CONV_WEIGHT]), bias ? param(o, bias) : NULL,
                            NULL};
    add_window(o, add_node(o, "Conv", op->label, inputs, product), op);
    if (addend)
        NODE(o, "Add", suffixed(o, op->label, ".sum"), result, product, addend->name);
    add_relu(o, op);
}

/* Channels that the shortcut lacks are zeros behind it. */
static void write_pool(Onnx *o, const Op *op)
{
    const int more = op->out[0]->dims[3] - op->in[POOL_X]->dims[3];
    const char *label = suffixed(o, op->label, ".pool"),
               *pooled = more ? suffixed(o, op->out[0]->name, "_pooled") : op->out[0]->name;
    const int64_t pads[] = {0, 0, 0, 0, 0, more, 0, 0};
    add_window(o, NODE(o, "AveragePool", label, pooled, op->in[POOL_X]->name), op);
    if (more)
        NODE(o, "Pad", suffixed(o, label, ".channels"), op->out[0]->name, pooled,
             integers(o, suffixed(o, label, ".pads"), pads, COUNT(pads)));
}

static void write_max_pool(Onnx *o, const Op *op)
{
    Onnx__Node *n = NODE(o, "MaxPool", op->label, op->out[0]->name, op->in[MAX_POOL_X]->name);
    add_window(o, n, op);
    add_ints(o, n, "pads", op->pad, 4);
}

static void write_normalize(Onnx *o, const Op *op)
{
    Onnx__Node *n = NODE(o, "BatchNormalization", op->label, before_relu(o, op), op->in[NORMALIZE_X]->name,
                         param(o, op->in[NORMALIZE_WEIGHT]), param(o, op->in[NORMALIZE_BIAS]),
                         param(o, op->in[NORMALIZE_RUNNING_MEAN]), param(o, op->in[NORMALIZE_RUNNING_VAR]));
    add_attribute(o, n, "epsilon", ONNX__ATTRIBUTE_TYPE__FLOAT)->f = 1e-5f; /* docs/language.md */
    add_relu(o, op);
}

static void write_mean(Onnx *o, const Op *op)
{
    NODE(o, "GlobalAveragePool", suffixed(o, op->label, ".of_positions"), op->out[0]->name,
         op->in[MEAN_X]->name);
}

/* What encoders are made of. */
static void write_operation(Onnx *o, const Op *op)
{
    switch (op->kind) {
    case OP_PAD: write_pad(o, op); return;
    case OP_CONV: write_conv(o, op); return;
    case OP_POOL: write_pool(o, op); return;
    case OP_MAX_POOL: write_max_pool(o, op); return;
    case OP_NORMALIZE: write_normalize(o, op); return;
    case OP_MEAN: write_mean(o, op); return;
    default: bug("%s of %s has no node", op_name(op->kind), op->label);
    }
}

/* ---- the graph ---- */

/* (pixel - mean) / std, a channel's alike. */
static void write_input(Onnx *o, const Spec *s)
{
    const int channels = (int)s->input.channels.v;
    const int64_t dims[] = {1, channels, 1, 1};
    float *mean = ARENA_ARRAY(o->arena, float, channels), *std = ARENA_ARRAY(o->arena, float, channels);
    for (int i = 0; i < channels; i++) {
        mean[i] = (float)s->input.mean[i].v;
        std[i] = (float)s->input.std[i].v;
    }
    add_tensor(o, "input.mean", ONNX__NUMBER_TYPE__FLOAT32, 4, dims, mean, (size_t)channels * sizeof *mean);
    add_tensor(o, "input.std", ONNX__NUMBER_TYPE__FLOAT32, 4, dims, std, (size_t)channels * sizeof *std);
    NODE(o, "Sub", "normalise.mean", "x_centred", "x", "input.mean");
    NODE(o, "Div", "normalise.std", o->g->x->name, "x_centred", "input.std");
}

/* The first is the batch, which is free. */
static Onnx__ValueInfo *value_info(Onnx *o, const char *name, int rank, const int64_t *dims)
{
    Onnx__ValueInfo *v = ARENA_NEW(o->arena, Onnx__ValueInfo);
    Onnx__Type *type = ARENA_NEW(o->arena, Onnx__Type);
    Onnx__TensorType *tensor = ARENA_NEW(o->arena, Onnx__TensorType);
    Onnx__Shape *shape = ARENA_NEW(o->arena, Onnx__Shape);
    onnx__value_info__init(v);
    onnx__type__init(type);
    onnx__tensor_type__init(tensor);
    onnx__shape__init(shape);
    v->name = text(o, name);
    v->type = type;
    type->tensor_type = tensor;
    tensor->elem_type = ONNX__NUMBER_TYPE__FLOAT32;
    tensor->shape = shape;
    shape->n_dim = (size_t)rank;
    shape->dim = ARENA_ARRAY(o->arena, Onnx__Dimension *, rank);
    for (int i = 0; i < rank; i++) {
        Onnx__Dimension *d = shape->dim[i] = ARENA_NEW(o->arena, Onnx__Dimension);
        onnx__dimension__init(d);
        d->value_case = i ? ONNX__DIMENSION__VALUE_SIZE : ONNX__DIMENSION__VALUE_NAME;
        if (i)
            d->size = dims[i];
        else
            d->name = text(o, "N");
    }
    return v;
}

/* f_1 as (N, channels), phi_d as (N, dim, d, d). */
static void write_output(Onnx *o, const Feature *f)
{
    const Value *v = f->result;
    const int64_t dims[] = {0, v->dims[3], v->dims[1], v->dims[2]};
    const char *name = f->scale ? arena_printf(o->arena, "phi_%d", f->scale) : "f_1";
    o->graph.n_output = 1;
    o->graph.output = ARENA_ARRAY(o->arena, Onnx__ValueInfo *, 1);
    o->graph.output[0] = value_info(o, name, f->scale ? 4 : 2, dims);
    if (f->scale)
        NODE(o, "Identity", name, name, v->name);
    else
        add_int(o, NODE(o, "Flatten", name, name, v->name), "axis", 1);
}

static void write_graph(Onnx *o, const Spec *s, const Feature *f)
{
    const int64_t dims[] = {0, s->input.channels.v, s->input.size.v, s->input.size.v};
    onnx__graph__init(&o->graph);
    o->graph.name = text(o, s->name.v);
    o->graph.n_input = 1;
    o->graph.input = ARENA_ARRAY(o->arena, Onnx__ValueInfo *, 1);
    o->graph.input[0] = value_info(o, "x", 4, dims);
    write_input(o, s);
    for (int i = 0; i < o->g->ops; i++)
        write_operation(o, o->g->op[i]);
    write_output(o, f);
}

/* ---- how large ---- */

/* Readers of protobuf count a file's bytes in an int. */
static bool fits(double bytes)
{
    if (bytes <= INT_MAX)
        return true;
    say("amdimc: error: the ONNX model would have %.1f GiB, and the format holds less than 2; make the "
        "encoder "
        "narrower",
        bytes / (1 << 30));
    return false;
}

/* Found out before they are read. */
static bool weights_fit(const Params *p)
{
    double bytes = 0;
    for (int i = 0; i < p->count; i++)
        bytes += (double)p->param[i]->count * sizeof(float);
    return fits(bytes);
}

static uint8_t *packed(Onnx *o, size_t *bytes)
{
    Onnx__Model model;
    Onnx__OperatorSet opset, *opsets[] = {&opset};
    onnx__model__init(&model);
    onnx__operator_set__init(&opset);
    opset.version = OPSET;
    model.ir_version = IR_VERSION;
    model.producer_name = text(o, "amdimc");
    model.producer_version = text(o, AMDIMC_VERSION);
    model.doc_string =
        text(o, "An encoder trained by AMDIM. x: pixels in 0..1, (N, channels, rows, columns).");
    model.graph = &o->graph;
    model.n_opset_import = 1;
    model.opset_import = opsets;
    *bytes = onnx__model__get_packed_size(&model);
    if (!fits((double)*bytes))
        return NULL;
    uint8_t *to = arena_zeroed(o->arena, *bytes + 1);
    onnx__model__pack(&model, to);
    return to;
}

/* ---- which feature ---- */

static const Feature *find_feature(const Feature *feature, int features, int scale)
{
    for (int i = 0; i < features; i++)
        if (feature[i].scale == scale && !feature[i].raw)
            return &feature[i];
    return NULL;
}

static const Feature *no_such_scale(Arena *a, const Feature *feature, int features, int scale)
{
    const char *list = "";
    for (int i = 0; i < features; i++)
        if (feature[i].scale && !feature[i].raw)
            list = arena_printf(a, "%s%s%d", list, *list ? ", " : "", feature[i].scale);
    say("amdimc: error: --scale %d: no pair trains that scale; those that are trained: %s", scale, list);
    return NULL;
}

uint8_t *emit_onnx(Arena *a, const Net *n, const char *weights, int scale, size_t *bytes)
{
    ParamPool pool = {.arena = a, .net = n};
    Feature *feature = ARENA_ARRAY(a, Feature, 2 * n->scales + 1);
    int features;
    Graph *g = lower_encoders(a, n, &pool, 1, feature, &features);
    const Feature *f = find_feature(feature, features, scale);
    if (!f)
        f = no_such_scale(a, feature, features, scale);
    if (!f)
        return NULL;
    g->results = 1;
    g->result[0] = f->result;
    simplify(g);
    g->x->name = "x_normalised";
    Onnx o = {.arena = a, .g = g, .params = params_place(a, g, &pool)};
    if (!weights_fit(o.params))
        return NULL;
    o.value = weights_of_file(a, weights, o.params);
    if (!o.value)
        return NULL;
    write_graph(&o, n->spec, f);
    return packed(&o, bytes);
}
