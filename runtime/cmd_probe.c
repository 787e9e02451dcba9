/* cmd_probe.c: how much a classifier reads out of frozen features of the test pictures. */
#include "runtime.h"
#include <math.h>
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
    DataRequest request = {o->data, split, o->limit < 0 ? 0 : (uint32_t)o->limit, o->coarse};
    *e = (Encoded){.data = data_request(&request, f)};
    if (!e->data)
        return false;
    if (o->data)
        data_say(e->data, split);
    e->features = o->pixels ? features_pixels(k->model, e->data, f)
                            : features_all(k, &k->model->feature[0], e->data, f);
    return e->features != NULL;
}

static int feature_dims(const AmdimModel *m, const Options *o)
{
    return o->pixels ? m->size * m->size * m->channels : m->feature[0].channels;
}

static ProbeRows rows_of(const Encoded *e)
{
    return (ProbeRows){e->data->count, e->features, e->data->label};
}

static bool probe(Machine *k, const Options *o, ProbeResult *result, Fault *f)
{
    Encoded train = {0}, test = {0};
    bool ok = encode_split(&train, k, o, SPLIT_TRAIN, f) && encode_split(&test, k, o, SPLIT_TEST, f);
    if (ok) {
        ProbeRows train_rows = rows_of(&train), test_rows = rows_of(&test);
        ok = probe_named(o->head)(k->pool, train.data->classes, feature_dims(k->model, o), o->seed,
                                  &train_rows, &test_rows, result, f);
    }
    encoded_free(&train);
    encoded_free(&test);
    return ok;
}

static void print_result(const ProbeResult *r, const Options *o)
{
    double low, high;
    probe_interval(r->accuracy, r->images, &low, &high);
    printf("%s probe: %.1f %% (95 %% interval %.1f to %.1f %%) of %u test images", o->head, 100 * r->accuracy,
           100 * low, 100 * high, (unsigned)r->images);
    if (!isnan(r->train_accuracy))
        printf(" (training images: %.1f %%)", 100 * r->train_accuracy);
    printf("\n");
    if (o->json)
        printf("{\"head\": \"%s\", \"accuracy\": %.9g, \"images\": %u, \"low\": %.9g, \"high\": %.9g}\n",
               o->head, r->accuracy, (unsigned)r->images, low, high);
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
