/* cmd_probe.c: how much a classifier reads out of frozen features of the test pictures. */
#include "runtime.h"

static bool probe(Machine *k, const Options *o, ProbeResult *result, Fault *f)
{
    ProbeSplits splits = {.data = {.dir = o->data,
                                   .limit = o->limit < 0 ? 0 : (uint32_t)o->limit,
                                   .coarse = o->coarse,
                                   .holdout = o->holdout},
                          .pixels = o->pixels,
                          .say = o->data != NULL,
                          .head = o->head,
                          .seed = o->seed};
    return probe_splits(k, &splits, result, f);
}

static void print_result(const ProbeResult *r, const Options *o)
{
    char text[256];
    double low, high;
    probe_describe(r, text, sizeof text);
    share_interval(r->accuracy, r->images, &low, &high);
    if (!o->json)
        printf("%s probe: %s\n", o->head, text);
    else
        printf("{\"head\": \"%s\", \"accuracy\": %.9g, \"images\": %u, \"low\": %.9g, \"high\": %.9g}\n",
               o->head, r->accuracy, (unsigned)r->images, low, high);
}

int command_probe(const AmdimModel *m, const Options *o, Fault *f)
{
    Machine k;
    ProbeResult result;
    signals_watch();
    if (!machine_new(&k, m, o->threads, f))
        return 1;
    if (machine_rests(&k, "probe")) {
        machine_free(&k);
        return 0;
    }
    if (o->untrained)
        weights_init(m, o->seed, k.params);
    bool ok = (!o->weights || weights_load(m, o->weights, k.params, f)) && probe(&k, o, &result, f);
    machine_free(&k);
    if (ok)
        print_result(&result, o);
    return exit_code(ok);
}
