/* emit_tables.c: what describes the model to the runtime: tensors, layers, scales, pairs, features, and how
 * it is trained. */
#include "blocks.h"
#include "emit.h"
#include <string.h>

/* ---- tensors ---- */

static const char *const init_names[] = {"ZERO", "ONE", "UNIFORM", "SHORTCUT"};

/* One list for the struct, the numbers and the table (templates/model.h). */
void emit_params(Emit *e)
{
    const Params *all = e->program->params;
    fprintf(e->out, "/* The tensors: name in C and in files, whether trained, PyTorch's shape, floats, "
                    "initial values and "
                    "their bound. */\n#define TENSORS(T)");
    for (int i = 0; i < all->count; i++) {
        const Param *p = all->param[i];
        fprintf(e->out, " \\\n    T(%s, \"%s\", %s, %d, SHAPE_OF(", p->field, p->name,
                p->trained ? "true" : "false", p->rank);
        for (int k = 0; k < p->rank; k++)
            fprintf(e->out, "%s%d", k ? ", " : "", p->dims[k]);
        fprintf(e->out, "), %zu, %s, %.9g)", p->count, init_names[p->init], p->bound);
    }
    fprintf(e->out, "\n\ntypedef struct {\n    TENSORS(TENSOR_FIELD)\n} Params;\n"
                    "enum { TENSORS(TENSOR_NUMBER) TENSOR_COUNT };\n\n");
}

/* What lies above the top-most trained layer is not in the program. */
static void emit_layers(Emit *e)
{
    const Net *n = e->program->net;
    fprintf(e->out, "/* kind, number, side, channels, kernel, stride, pad, depth, receptive field, its "
                    "stride, its begin */\n"
                    "static const AmdimLayer layers[] = {\n");
    for (int i = 0; i <= n->top; i++) {
        const NetLayer *l = &n->layer[i];
        const SpecLayer *s = l->spec;
        const bool window = s->kind != LAYER_BATCHNORM;
        fprintf(e->out, "    {\"%s\", %d, %d, %d, %d, %d, %d, %d, %d, %d, %d},\n", layer_kind_name(s->kind),
                l->number, l->side, l->channels, window ? (int)s->kernel.v : 0, window ? (int)s->stride.v : 1,
                window ? (int)s->pad.v : 0, s->kind == LAYER_BLOCK ? (int)s->depth.v : 1, l->receptive_field,
                l->receptive_stride, l->receptive_begin);
    }
    fprintf(e->out, "};\n\n");
}

static int emit_scales(Emit *e)
{
    const Net *n = e->program->net;
    int scales = 0;
    fprintf(e->out, "static const AmdimScale scales[] = {");
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].trained)
            fprintf(e->out, "%s{.scale = %d, .layer = %d}", scales++ ? ", " : "", n->scale[i].scale,
                    n->scale[i].layer->number);
    fprintf(e->out, "};\n");
    return scales;
}

static void emit_pairs(Emit *e)
{
    const Net *n = e->program->net;
    fprintf(e->out, "static const AmdimPair pairs[] = {\n");
    for (int i = 0; i < n->pairs; i++)
        fprintf(e->out, "    {.name = \"%s\", .from = %d, .to = %d, .weight = %s, .located = %d%s},\n",
                n->pair[i].name, n->pair[i].from->scale, n->pair[i].to->scale,
                real(e, n->pair[i].spec->weight.v), n->pair[i].located,
                n->pair[i].components ? ", .mixture = true" : "");
    fprintf(e->out, "};\n\n");
}

static void emit_features(Emit *e)
{
    const Program *p = e->program;
    fprintf(e->out, "static const AmdimFeature features[] = {\n");
    for (int i = 0; i < p->features; i++) {
        const Value *v = p->feature[i].result;
        fprintf(e->out, "    {.scale = %d, %s.images = %d, .side = %d, .channels = %d, .run = %s},\n",
                p->feature[i].scale, p->feature[i].raw ? ".raw = true, " : "", v->dims[0], v->dims[1],
                v->dims[3], feature_function(e->arena, &p->feature[i]));
    }
    fprintf(e->out, "};\n\n");
}

static void emit_augment(Emit *e)
{
    const Spec *s = e->program->net->spec;
    fprintf(e->out, "    .augment = {.flip = %s, .grayscale = %s", real(e, s->augment.flip.v),
            real(e, s->augment.grayscale.v));
    if (s->augment.crop.on)
        fprintf(e->out,
                ",\n                .has_crop = true, .crop_scale = {%s, %s}, .crop_ratio = {%s, %s}, "
                ".crop_p = %s",
                real(e, s->augment.crop.low.v), real(e, s->augment.crop.high.v),
                real(e, s->augment.crop.ratio_low.v), real(e, s->augment.crop.ratio_high.v),
                real(e, s->augment.crop.p.v));
    if (s->augment.translate.on)
        fprintf(e->out, ",\n                .has_translate = true, .translate_max = %d, .translate_p = %s",
                (int)s->augment.translate.max.v, real(e, s->augment.translate.p.v));
    if (s->augment.jitter.on)
        fprintf(e->out,
                ",\n                .has_jitter = true, .brightness = %s, .contrast = %s, .saturation "
                "= %s, "
                ".hue = %s, .jitter_p = %s",
                real(e, s->augment.jitter.brightness.v), real(e, s->augment.jitter.contrast.v),
                real(e, s->augment.jitter.saturation.v), real(e, s->augment.jitter.hue.v),
                real(e, s->augment.jitter.p.v));
    if (s->augment.blur.on)
        fprintf(e->out, ",\n                .has_blur = true, .blur_sigma = {%s, %s}, .blur_p = %s",
                real(e, s->augment.blur.low.v), real(e, s->augment.blur.high.v),
                real(e, s->augment.blur.p.v));
    if (s->augment.solarize.on)
        fprintf(e->out, ",\n                .has_solarize = true, .solarize_threshold = %s, .solarize_p = %s",
                real(e, s->augment.solarize.threshold.v), real(e, s->augment.solarize.p.v));
    fprintf(e->out, "},\n");
}

static void emit_training(Emit *e)
{
    const Spec *s = e->program->net->spec;
    fprintf(e->out, "    .optimizer = {.rule = %s, .lr = %s, .weight_decay = %s",
            s->optimizer.sgd ? "AMDIM_SGD" : "AMDIM_ADAM", real(e, s->optimizer.lr.v),
            real(e, s->optimizer.weight_decay.v));
    if (s->optimizer.sgd)
        fprintf(e->out, ", .momentum = %s},\n", real(e, s->optimizer.momentum.v));
    else
        fprintf(e->out, ", .beta1 = %s, .beta2 = %s, .eps = %s%s},\n", real(e, s->optimizer.beta1.v),
                real(e, s->optimizer.beta2.v), real(e, s->optimizer.eps.v),
                s->optimizer.decoupled.v ? ", .decoupled = true" : "");
    if (s->schedule.has_cosine) {
        fprintf(
            e->out, "    .schedule = {.epochs = %lld, .warmup = %lld, .has_cosine = true, .cosine = %s},\n",
            (long long)s->schedule.epochs.v, (long long)s->schedule.warmup.v, real(e, s->schedule.cosine.v));
        return;
    }
    fprintf(e->out,
            "    .schedule = {.epochs = %lld, .warmup = %lld, .milestones = %d, .milestone = %s, .gamma = "
            "%s},\n",
            (long long)s->schedule.epochs.v, (long long)s->schedule.warmup.v, s->schedule.milestones,
            s->schedule.milestones ? "milestones" : "NULL", real(e, s->schedule.gamma.v));
}

static void emit_start(Emit *e)
{
    if (e->program->openblas)
        fprintf(e->out,
                "/* Threads take parts of an operation; each of OpenBLAS's products stays on its own. */\n"
                "static void start(void)\n{\n    openblas_set_num_threads(1);\n}\n\n"
                "/* Asked before all else: a version older than the processor starts with kernels for SSE3 "
                "(processor.h). */\n"
                "static const char *openblas_core(void)\n{\n    return openblas_get_corename();\n}\n\n");
}

/* The canonical spec, a setting a line. Returns how many. */
static int emit_settings(Emit *e, const char *text)
{
    int count = 0;
    fprintf(e->out, "static const char *const settings[] = {\n");
    for (size_t length; *text; text += length + 1, count++) {
        length = strcspn(text, "\n");
        fprintf(e->out, "    %s,\n", quoted(e->arena, arena_copy(e->arena, text, length)));
    }
    fprintf(e->out, "};\n");
    return count;
}

static void emit_mixture(Emit *e)
{
    const SpecMixture *m = &e->program->net->spec->embedding.mixture;
    if (m->on)
        fprintf(e->out,
                "    .mixture = {.components = %d, .hidden = %d, .temperature = %s,\n"
                "        .conv1 = TENSOR_embed_1_mixture_conv1_weight, .conv2 = "
                "TENSOR_embed_1_mixture_conv2_weight},\n",
                (int)m->components.v, (int)m->hidden.v, real(e, m->temperature.v));
}

/* Every key of the spec with its value. */
static int emit_keys(Emit *e, const Spec *s)
{
    int count;
    const KeyValue *setting = spec_settings(e->arena, s, false, &count);
    fprintf(e->out, "/* key, value, given or by default */\nstatic const AmdimKey keys[] = {\n");
    for (int i = 0; i < count; i++)
        fprintf(e->out, "    {\"%s\", %s, %s},\n", setting[i].key,
                setting[i].value ? quoted(e->arena, setting[i].value) : "NULL",
                setting[i].at.source ? "true" : "false");
    fprintf(e->out, "};\n");
    return count;
}

static int emit_notes(Emit *e, const Spec *s)
{
    int count;
    const Note *note = augment_notes(e->arena, s, &count);
    if (count)
        fprintf(e->out, "static const char *const notes[] = {\n");
    for (int i = 0; i < count; i++)
        fprintf(e->out, "    %s,\n", quoted(e->arena, note[i].text));
    if (count)
        fprintf(e->out, "};\n");
    return count;
}

static const char *shares_of_model(const Emit *e)
{
    return arena_printf(e->arena, "SHARES, .wire = &amdim_wire, .bucket = %d, .buckets = %d", SHARE_BUCKET,
                        cost_buckets(e->program->step, e->program->params));
}

static void emit_model_table(Emit *e, int scales)
{
    const Program *p = e->program;
    const Net *n = p->net;
    const Spec *s = n->spec;
    emit_floats(e, "mean", s->input.mean, (int)s->input.channels.v);
    emit_floats(e, "deviation", s->input.std, (int)s->input.channels.v);
    if (s->schedule.milestones) {
        fprintf(e->out, "static const int64_t milestones[] = {");
        for (int i = 0; i < s->schedule.milestones; i++)
            fprintf(e->out, "%s%lld", i ? ", " : "", (long long)s->schedule.milestone[i].v);
        fprintf(e->out, "};\n");
    }
    const int settings = emit_settings(e, p->canonical), keys = emit_keys(e, s), notes = emit_notes(e, s);
    fprintf(e->out, "\nconst AmdimModel %s = {\n    .name = \"%s\", .spec = %s, .digest = \"%s\",\n",
            p->is_reference ? "amdim_reference" : "amdim_model", s->name.v, quoted(e->arena, spec_name(e)),
            p->digest);
    fprintf(e->out, "    .settings = %d, .setting = settings, .keys = %d, .key = keys,\n", settings, keys);
    if (notes)
        fprintf(e->out, "    .notes = %d, .note = notes,\n", notes);
    fprintf(e->out,
            "    .compiler = \"amdimc " AMDIMC_VERSION
            "\", .cc = COMPILER, .march = MARCH_OF(%s), .target = TARGET_OF(%s), .blas = \"%s\",\n",
            quoted(e->arena, s->target.march.v), quoted(e->arena, p->triple), s->target.blas.v);
    fprintf(e->out, "    .precision = \"%s\",%s\n", precision_names[s->target.precision],
            program_has_reference(p) ? " .reference = &amdim_reference," : "");
    fprintf(
        e->out,
        "    .views = VIEWS, .batch = BATCH, .channels = %d, .size = %d, .mean = mean, .std = deviation,\n"
        "    .embedding_dim = DIM, .shares = %s,\n",
        (int)s->input.channels.v, (int)s->input.size.v, n->shares > 1 ? shares_of_model(e) : "1");
    emit_mixture(e);
    emit_augment(e);
    emit_training(e);
    fprintf(e->out, "    .threads = %d, .clip = %s, .penalty = %s,\n", (int)s->target.threads.v,
            real(e, s->loss.clip.v), real(e, s->loss.penalty.v));
    fprintf(e->out,
            "    .tensors = TENSOR_COUNT, .tensor = tensors, .param_floats = sizeof(Params) / sizeof(float), "
            ".trained_floats = %zu,\n",
            p->params->trained_floats);
    fprintf(e->out,
            "    .layers = %d, .layer = layers, .scales = %d, .scale = scales, .pairs = %d, .pair = pairs, "
            ".located = %d,\n",
            n->top + 1, scales, n->pairs, n->located);
    fprintf(e->out, "    .arena_bytes = %zu, .scratch_bytes = %zu, .peak_bytes = %zu, .flop_per_step = %s,\n",
            p->peak.arena, p->peak.worker, p->peak.total, real(e, cost_batch_flop(p->step)));
    fprintf(e->out, "    .thread_bytes = %zu, .data_bytes = %zu, .decoding_bytes = %zu,\n",
            p->peak.each_thread, p->peak.data, p->peak.decoding);
    if (s->target.memory.v)
        fprintf(e->out, "    .memory_limit = %lld,\n", (long long)s->target.memory.v);
    fprintf(e->out, "    .tiles = MATRIX_TILES%s, .step = step, .features = %d, .feature = features,\n};\n",
            p->openblas ? ", .start = start, .openblas_core = openblas_core" : "", p->features);
}

void emit_tables(Emit *e)
{
    fprintf(e->out, "static const AmdimTensor tensors[TENSOR_COUNT] = {TENSORS(TENSOR_ROW)};\n\n");
    emit_layers(e);
    const int scales = emit_scales(e);
    emit_pairs(e);
    emit_features(e);
    emit_start(e);
    emit_model_table(e, scales);
}
