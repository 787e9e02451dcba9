/* lowered.c: see lowered.h. */
#include "lowered.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

void lowered_run(Graph *g, bool backward, Pass last)
{
    graph_check(g, "lower");
    if (backward && last >= PASS_DIFFERENTIATE) {
        differentiate(g);
        graph_check(g, "differentiate");
    }
    if (last >= PASS_SIMPLIFY) {
        simplify(g);
        graph_check(g, "simplify");
    }
    if (backward && last >= PASS_RECOMPUTE) {
        recompute(g, RECOMPUTE_BUDGET);
        graph_check(g, "recompute");
    }
    if (last >= PASS_PLAN) {
        select_kernels(g, NULL);
        cost_scratch(g);
        plan_memory(g);
        plan_check(g);
    }
}

static void lower(Lowered *l, Source *source, Pass last, bool tiles)
{
    Spec *spec = source ? spec_read(l->arena, &l->d, source, &(Overrides){0}) : NULL;
    assert_non_null(spec);
    spec->target.tiles = tiles;
    l->net = net_build(l->arena, &l->d, spec);
    assert_non_null(l->net);
    l->pool = (ParamPool){.arena = l->arena, .net = l->net};
    l->step = lower_step(l->arena, l->net, &l->pool, 0);
    lowered_run(l->step, true, last);
    if (last >= PASS_SIMPLIFY)
        l->params = params_place(l->arena, l->step, &l->pool);
}

static void begin_text(Lowered *l, const char *text, Pass last, bool tiles)
{
    *l = (Lowered){.arena = arena_new(), .d = {.stream = stderr}};
    l->source = (Source){"a.yaml", text, strlen(text)};
    lower(l, &l->source, last, tiles);
}

void lowered_begin(Lowered *l, const char *text, Pass last)
{
    begin_text(l, text, last, false);
}

void lowered_begin_tiles(Lowered *l, const char *text, Pass last)
{
    begin_text(l, text, last, true);
}

void lowered_begin_file(Lowered *l, const char *path, Pass last)
{
    *l = (Lowered){.arena = arena_new(), .d = {.stream = stderr}};
    lower(l, source_read(l->arena, &l->d, path), last, false);
}

void lowered_end(Lowered *l)
{
    arena_free(l->arena);
}
