/* test_plan.c: the planner's offsets, judged by lifetimes counted here anew: nothing that lives at once
 * overlaps, results take over memory only where it dies, and the arena is close to the most that lives at
 * once. Random lists, then the project's specs. */
#include "lowered.h"
#include "noise.h"

#include <glob.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { LISTS = 300, ALIGNMENT = 64 };

/* ---- lifetimes ---- */

typedef struct {
    int first, last; /* operations */
} Life;

static void read_at(Life *life, const Value *v, int op)
{
    if (v)
        life[v->id].last = op;
}

/* By value number. The last operation's result is read behind the end. */
static Life *lives(const Graph *g)
{
    Life *life = ARENA_ARRAY(g->arena, Life, g->values);
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        for (int j = 0; j < op->inputs; j++)
            read_at(life, op->in[j], i);
        for (int j = 0; j < OP_OUTPUTS; j++)
            if (op->out[j])
                life[op->out[j]->id] = (Life){i, i};
        if (op->scratch)
            life[op->scratch->id] = (Life){i, i};
    }
    read_at(life, g->op[g->ops - 1]->out[0], g->ops);
    return life;
}

static const Value *family(const Graph *g, const Value *v)
{
    while (v->home != v->id)
        v = g->value[v->home];
    return v;
}

static bool overlap(const Value *a, const Value *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* ---- what must hold ---- */

/* Two that live at once share memory only where one, made at the very operation where the other dies, is its
 * heir. */
static void expect_no_overlap(const Graph *g, const Life *life)
{
    for (int i = 0; i < g->values; i++)
        for (int j = 0; j < g->values; j++) {
            const Value *a = g->value[i], *b = g->value[j];
            if (i == j || a->kind != VALUE_TEMPORARY || b->kind != VALUE_TEMPORARY || !overlap(a, b) ||
                life[i].first > life[j].first || life[i].last < life[j].first)
                continue;
            const bool heir = family(g, a) == family(g, b) && life[i].last == life[j].first &&
                              life[i].first < life[j].first;
            if (!heir)
                fail_msg("%s, op %d to %d, and %s, op %d to %d, overlap", a->name, life[i].first,
                         life[i].last, b->name, life[j].first, life[j].last);
        }
}

/* An heir has the size and place of an input that only one operand reads. */
static void expect_sound_heirs(const Graph *g, const Life *life)
{
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        const Value *y = op->out[0];
        if (!y || y->home == y->id)
            continue;
        int parents = 0;
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j] && op->in[j]->kind == VALUE_TEMPORARY && family(g, op->in[j]) == family(g, y)) {
                parents++;
                assert_int_equal(op->in[j]->offset, y->offset);
                assert_int_equal(op->in[j]->bytes, y->bytes);
                assert_int_equal(life[op->in[j]->id].last, i);
            }
        assert_int_equal(parents, 1);
    }
}

/* The most bytes that live at one operation: a family counts once. */
static size_t most_alive(const Graph *g, const Life *life)
{
    size_t most = 0;
    for (int op = 0; op < g->ops; op++) {
        size_t alive = 0;
        bool *counted = ARENA_ARRAY(g->arena, bool, g->values);
        for (int i = 0; i < g->values; i++) {
            const Value *v = g->value[i];
            if (v->kind != VALUE_TEMPORARY || life[i].first > op || life[i].last < op ||
                counted[family(g, v)->id])
                continue;
            counted[family(g, v)->id] = true;
            alive += v->bytes;
        }
        most = alive > most ? alive : most;
    }
    return most;
}

static void expect_arena_holds_all(const Graph *g, const Life *life)
{
    assert_int_equal(g->arena_bytes % ALIGNMENT, 0);
    assert_true(g->arena_bytes >= most_alive(g, life));
    for (int i = 0; i < g->values; i++) {
        if (g->value[i]->kind != VALUE_TEMPORARY)
            continue;
        assert_int_equal(g->value[i]->offset % ALIGNMENT, 0);
        assert_true(g->value[i]->offset + g->value[i]->bytes <= g->arena_bytes);
    }
}

static void expect_sound(const Graph *g)
{
    plan_check(g);
    const Life *life = lives(g);
    expect_no_overlap(g, life);
    expect_sound_heirs(g, life);
    expect_arena_holds_all(g, life);
}

/* ---- random lists ---- */

/* Few sizes, so that equal ones meet; most are no multiple of the alignment. */
static Value *random_value(Graph *g, uint64_t *state)
{
    static const int floats[] = {1, 3, 16, 16, 100, 100, 100, 1000, 1024, 4099};
    return graph_value(g, VALUE_TEMPORARY, "v", 1, &floats[noise_below(state, COUNT(floats))]);
}

/* Near values are read more often than far ones; some never. */
static Value *random_input(const Graph *g, uint64_t *state)
{
    const int reach = noise_below(state, 4) ? 6 : g->values;
    const int back = noise_below(state, reach < g->values ? reach : g->values);
    return g->value[g->values - 1 - back];
}

static void random_op(Graph *g, uint64_t *state)
{
    static const OpKind kinds[] = {OP_ADD,         OP_CONV,      OP_RELU_GRAD, OP_BATCHNORM_GRAD,
                                   OP_CONV_GRAD_X, OP_POOL_GRAD, OP_MEAN};
    Value *in[OP_INPUTS] = {0};
    for (int j = 0; j < 4; j++)
        in[j] = noise_below(state, 3) ? random_input(g, state) : NULL;
    Op *op = graph_op(g, kinds[noise_below(state, COUNT(kinds))], (Mark){0}, "random");
    memcpy(op->in, in, sizeof in);
    const int outputs = 1 + noise_below(state, OP_OUTPUTS);
    for (int j = 0; j < outputs; j++)
        op->out[j] = random_value(g, state);
    if (!noise_below(state, 3))
        op->scratch = random_value(g, state);
}

static Graph *random_list(Arena *a, uint64_t seed)
{
    static const Net net = {.images = 1};
    uint64_t state = seed;
    Graph *g = graph_new(a, &net, "random");
    g->x = graph_value(g, VALUE_INPUT, "x", 1, (int[]){7});
    const int ops = 1 + noise_below(&state, 40);
    for (int i = 0; i < ops; i++)
        random_op(g, &state);
    plan_memory(g);
    return g;
}

static void random_lists_never_overlap(void **state)
{
    (void)state;
    int heirs = 0;
    for (uint64_t seed = 1; seed <= LISTS; seed++) {
        Arena *a = arena_new();
        const Graph *g = random_list(a, seed);
        expect_sound(g);
        for (int i = 0; i < g->values; i++)
            heirs += g->value[i]->home != i;
        arena_free(a);
    }
    assert_true(heirs > LISTS); /* or the lists test nothing of it */
}

static void same_list_same_plan(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= LISTS / 10; seed++) {
        Arena *a = arena_new();
        const Graph *one = random_list(a, seed), *two = random_list(a, seed);
        assert_int_equal(one->arena_bytes, two->arena_bytes);
        for (int i = 0; i < one->values; i++) {
            assert_int_equal(one->value[i]->offset, two->value[i]->offset);
            assert_int_equal(one->value[i]->home, two->value[i]->home);
        }
        arena_free(a);
    }
}

/* ---- specs ---- */

static void specs_are_planned_tightly(void **state)
{
    (void)state;
    glob_t specs;
    assert_int_equal(glob("specs/*.yaml", 0, NULL, &specs), 0);
    assert_true(specs.gl_pathc > 0);
    for (size_t i = 0; i < specs.gl_pathc; i++) {
        Lowered l;
        lowered_begin_file(&l, specs.gl_pathv[i], PASS_PLAN);
        expect_sound(l.step);
        const double ratio = (double)l.step->arena_bytes / (double)most_alive(l.step, lives(l.step));
        if (ratio > 1.10)
            fail_msg("%s: the arena is %.3f times what lives at once", specs.gl_pathv[i], ratio);
        lowered_end(&l);
    }
    globfree(&specs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists_never_overlap),
        cmocka_unit_test(same_list_same_plan),
        cmocka_unit_test(specs_are_planned_tightly),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
