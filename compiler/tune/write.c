/* write.c: a file of choices as text, which tuned.c reads. */
#include "tune.h"
#include <string.h>
#include <time.h>

const char no_choices[] = "products: []\n";

/* ---- choices ---- */

static const char *item_text(Arena *a, const Choice *c)
{
    const char *slices = c->slices ? arena_printf(a, ", slices: %d", c->slices) : "";
    const char *outputs = c->outputs ? arena_printf(a, ", outputs: %d", c->outputs) : "";
    return arena_printf(a, "  - {product: %s, layer: %s, by: %s%s%s}", c->product, c->layer, c->kernel,
                        slices, outputs);
}

static const char *list_of(Arena *a, const char *items)
{
    return *items ? arena_printf(a, "products:\n%s", items) : no_choices;
}

const char *choices_of_way(Arena *a, const Products *p, int way)
{
    const char *items = "";
    for (int i = 0; i < p->count && way > 0; i++)
        if (way < p->product[i].ways)
            items = arena_printf(a, "%s%s\n", items, item_text(a, &p->product[i].way[way]));
    return list_of(a, items);
}

static const char *with_times(Arena *a, const Product *p, int way)
{
    return arena_printf(a, "%s  # %.3f ms; %s %.3f\n", item_text(a, &p->way[way]), 1e3 * p->seconds[way],
                        way_text(a, &p->way[0]), 1e3 * p->seconds[0]);
}

const char *choices_of_best(Arena *a, const Products *p)
{
    const char *items = "";
    for (int i = 0; i < p->count; i++) {
        const int best = product_best(&p->product[i]);
        if (best)
            items = arena_printf(a, "%s%s", items, with_times(a, &p->product[i], best));
    }
    return list_of(a, items);
}

/* ---- where they were found ---- */

/* The first line, which may hold anything. */
static const char *quoted(Arena *a, const char *text)
{
    const char *out = "";
    for (const char *c = text; *c && *c != '\n'; c++)
        out = arena_printf(a, "%s%s%c", out, *c == '"' || *c == '\\' ? "\\" : "",
                           *c >= ' ' && *c <= '~' ? *c : '?');
    return arena_printf(a, "\"%s\"", out);
}

static const char *processor_name(Arena *a)
{
    const char *cpuinfo = build_read(a, "/proc/cpuinfo"),
               *line = cpuinfo ? strstr(cpuinfo, "model name") : NULL;
    if (!line)
        return "a processor";
    line += strcspn(line, ":\n");
    line += strspn(line, ": ");
    return arena_copy(a, line, strcspn(line, "\n"));
}

static const char *today(Arena *a)
{
    char text[32] = "";
    const time_t now = time(NULL);
    struct tm when;
    if (localtime_r(&now, &when))
        strftime(text, sizeof text, "%Y-%m-%d", &when);
    return arena_copy(a, text, strlen(text));
}

const char *tuned_text(Arena *a, const Program *p, const char *cc, double peak, const char *choices,
                       const char *gain)
{
    const Spec *s = p->net->spec;
    const char *const version[] = {cc, "--version", NULL}, *compiler = output_of(a, version);
    const char *machine =
        arena_printf(a, "%s, -march=%s, %jd threads, %.0f GFLOP/s of multiply-adds", processor_name(a),
                     s->target.march.v, (intmax_t)s->target.threads.v, peak);
    return arena_printf(a,
                        "# Products of a step that another way makes faster on this machine than the one "
                        "that amdimc takes of\n"
                        "# itself, by `amdimc --tune`; `amdimc SPEC --tuned THIS -o PROGRAM` makes them so.\n"
                        "spec: %s\nmachine: %s\ncompiler: %s\nmeasured: %s\ngain: %s\n%s",
                        s->name.v, quoted(a, machine), quoted(a, compiler ? compiler : "unknown"),
                        quoted(a, today(a)), quoted(a, gain), choices);
}
