/* cmd_probe.c: how much a linear classifier reads out of frozen features of the test pictures. */
#include "runtime.h"
#include <stdlib.h>

/* A split's features and labels. */
typedef struct {
    Dataset *data;
    float *features; /* (count, dims) */
} Encoded;

static void encoded_free(Encoded *e)
{
    free(e->features);
    if (e->data)
        data_close(e->data);
}

static bool encode_split(Encoded *e, Machine *k, const Options *o, Split split, Fault *f)
{
    *e = (Encoded){.data = data_open(o->data, split, o->limit < 0 ? 0 : (uint32_t)o->limit, f)};
    if (!e->data)
        return false;
    e->features = o->pixels ? features_pixels(k->model, e->data, f)
                            : features_all(k, &k->model->feature[0], e->data, f);
    return e->features != NULL;
}

static int feature_dims(const AmdimModel *m, const Options *o)
{
    return o->pixels ? m->size * m->size * m->channels : m->feature[0].channels;
}

static bool probe(Machine *k, const Options *o, ProbeResult *result, Fault *f)
{
    Encoded train = {0}, test = {0};
    bool ok = encode_split(&train, k, o, SPLIT_TRAIN, f) && encode_split(&test, k, o, SPLIT_TEST, f) &&
              probe_linear(k->pool, train.data->classes, feature_dims(k->model, o), train.data->count,
                           train.features, train.data->label, test.data->count, test.features,
                           test.data->label, result, f);
    encoded_free(&train);
    encoded_free(&test);
    return ok;
}

static void print_result(const ProbeResult *r, const Options *o)
{
    printf("linear probe: %.1f %% of %u test images (training images: %.1f %%)\n", 100 * r->accuracy,
           (unsigned)r->images, 100 * r->train_accuracy);
    if (o->json)
        printf("{\"head\": \"%s\", \"accuracy\": %.9g, \"images\": %u}\n", o->head, r->accuracy,
               (unsigned)r->images);
}

int command_probe(const AmdimModel *m, const Options *o, Fault *f)
{
    Machine k;
    ProbeResult result;
    if (!machine_new(&k, m, o->threads, f))
        return 1;
    if (o->untrained)
        weights_init(m, o->seed, k.params);
    bool ok = (!o->weights || weights_load(m, o->weights, k.params, f)) && probe(&k, o, &result, f);
    machine_free(&k);
    if (ok)
        print_result(&result, o);
    return ok ? 0 : 1;
}
