/* test_amalgamate.c: several sources become one text that holds what a body reaches, and nothing else. */
#include "library/library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const char *of_header(const char *text, const char *body)
{
    return amalgamate(arena, &(AmalgamatedFile){.text = text}, 1, body);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no `%s` in:\n%s", part, text);
}

static void lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("`%s` in:\n%s", part, text);
}

#define GUARDED(items)                                                                                       \
    "/* a.h: a map. */\n#ifndef A_H\n#define A_H\n\n#include \"b.h\"\n\n" items "\n#endif\n"

static void what_is_not_reached_goes(void **state)
{
    (void)state;
    const char *text =
        of_header(GUARDED("/* Twice x. */\nstatic int twice(int x)\n{\n    return 2 * x;\n}\n\n"
                          "/* Half of x. */\nstatic int half(int x)\n{\n    return x / 2;\n}\n"),
                  "int y = twice(3);");
    has(text, "/* Twice x. */\nstatic int twice");
    lacks(text, "half");
    lacks(text, "Half");
    lacks(text, "A_H");
    lacks(text, "b.h");
}

static void what_is_reached_by_what_is_reached_stays(void **state)
{
    (void)state;
    const char *text =
        of_header(GUARDED("enum { LIMIT = 4, OTHER };\n\n#define BOUND(x) ((x) < LIMIT)\n\n"
                          "typedef struct {\n    int at[LIMIT];\n} Row;\n\n"
                          "static bool fits(const Row *r, int x)\n{\n    return BOUND(x) && r;\n}\n"),
                  "fits(0, 1);");
    has(text, "enum { LIMIT");
    has(text, "#define BOUND");
    has(text, "} Row;");
}

/* Words of comments and texts reach nothing, nor does `enum` reach every enumeration. */
static void words_reach_nothing(void **state)
{
    (void)state;
    const char *text = of_header(
        GUARDED("enum { FIRST };\n\nenum { SECOND };\n\nstatic int third(void)\n{\n    return 3;\n}\n"),
        "/* SECOND third */ enum { LOCAL }; const char *s = \"third\"; int x = FIRST;");
    has(text, "FIRST");
    lacks(text, "SECOND");
    lacks(text, "third");
}

/* Macros at file scope define what they paste together. */
static void macros_at_file_scope(void **state)
{
    (void)state;
    const char *text = of_header(
        GUARDED("#define EACH(DO) DO(1) DO(2)\n\n#define DEFINE(n) static int make_##n(void) { return n; }\n"
                "EACH(DEFINE)\n\nstatic int unused(void)\n{\n    return 0;\n}\n\n"
                "#define CALL(n) make_##n()\n"),
        "int x = CALL(1);");
    has(text, "EACH(DEFINE)");
    has(text, "#define EACH");
    lacks(text, "unused");
}

static void conditionals_are_one(void **state)
{
    (void)state;
    static const char items[] =
        "#if defined A\nenum { LANES = 8 };\n#else\n#ifndef B\nenum { LANES = 4 };\n#endif\n#endif\n\n"
        "#ifndef SPARE\n#define SPARE 1\n#endif\n";
    const char *text = of_header(
        arena_printf(arena, "/* a.h */\n#ifndef A_H\n#define A_H\n\n%s\n#endif\n", items), "int x = LANES;");
    has(text, "#if defined A\n");
    has(text, "LANES = 4");
    lacks(text, "SPARE");
}

/* A library has no matrix tiles. */
static void blocks_for_tiles_go(void **state)
{
    (void)state;
    const char *text = of_header(
        GUARDED("#if MATRIX_TILES\nenum { ROWS = 32 };\n#elif defined WIDE\nenum { ROWS = 12 };\n#else\n"
                "enum { ROWS = 4 };\n#endif\n"),
        "int x = ROWS;");
    has(text, "#if defined WIDE\n");
    lacks(text, "MATRIX_TILES");
    lacks(text, "32");
}

/* Functions of sources become static; a prototype leaves its comment to the definition. */
static void sources_become_static(void **state)
{
    (void)state;
    const AmalgamatedFile file[] = {
        {.text = GUARDED("/* The sum. */\nint add(int a, int b);\n")},
        {.text = "/* a.c: sums. */\n#include \"a.h\"\n\nint add(int a, int b)\n{\n    return a + b;\n}\n",
         .is_source = true}};
    const char *text = amalgamate(arena, file, 2, "add(1, 2)");
    has(text, "/* The sum. */\nstatic int add(int a, int b)\n{");
    lacks(text, "int add(int a, int b);");
}

/* An assertion goes with what it is about; headings with what they head. */
static void assertions_and_headings(void **state)
{
    (void)state;
    static const char items[] =
        "/* ---- first ---- */\n\nenum { ONE = 1 };\n\n/* ---- second ---- */\n\nenum { TWO = 2 };\n\n"
        "_Static_assert(TWO == 2 * ONE, \"twice\");\n";
    const char *header =
        arena_printf(arena, "/* a.h: a map. */\n#ifndef A_H\n#define A_H\n\n%s\n#endif\n", items);
    const char *one = of_header(header, "ONE"), *both = of_header(header, "ONE TWO");
    has(one, "first");
    lacks(one, "second");
    lacks(one, "_Static_assert");
    has(both, "second");
    has(both, "_Static_assert");
}

static void trailing_comments_stay(void **state)
{
    (void)state;
    const char *text = of_header(GUARDED("enum { NEAR = 1 }; /* of a line\n                    and more "
                                         "*/\nenum { FAR = 2 }; /* far */\n"),
                                 "NEAR");
    has(text, "/* of a line\n                    and more */");
    lacks(text, "far");
}

static void halves(void **state)
{
    (void)state;
    assert_int_equal(half_of(0), 0);
    assert_int_equal(half_of(-0.0f), 0x8000);
    assert_int_equal(half_of(1), 0x3c00);
    assert_int_equal(half_of(-2), 0xc000);
    assert_int_equal(half_of(65504), 0x7bff);
    assert_int_equal(half_of(0x1p-14f), 0x0400);     /* the least normal one */
    assert_int_equal(half_of(0x1p-24f), 0x0001);     /* the least of all */
    assert_int_equal(half_of(0x1p-25f), 0x0000);     /* a tie, to even */
    assert_int_equal(half_of(0x1.8p-24f), 0x0002);   /* a tie, to even */
    assert_int_equal(half_of(1 + 0x1p-11f), 0x3c00); /* ties to even */
    assert_int_equal(half_of(1 + 0x1.8p-10f), 0x3c02);
    assert_int_equal(half_of(1 + 0x1p-11f + 0x1p-20f), 0x3c01); /* above the tie */
    assert_int_equal(half_of(0x1.ffep-1f + 0x1p-12f), 0x3c00);  /* up to the next power of two */
}

/* Every half is the float that it stands for, and back. */
static void halves_are_exact(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) {
        const int exponent = (int)(h >> 10);
        const double fraction = h & 0x3ff,
                     value = exponent ? (1 + fraction / 1024) * __builtin_ldexp(1, exponent - 15)
                                      : fraction * 0x1p-24;
        assert_int_equal(half_of((float)value), h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_reached_goes),
        cmocka_unit_test(what_is_reached_by_what_is_reached_stays),
        cmocka_unit_test(words_reach_nothing),
        cmocka_unit_test(macros_at_file_scope),
        cmocka_unit_test(conditionals_are_one),
        cmocka_unit_test(blocks_for_tiles_go),
        cmocka_unit_test(sources_become_static),
        cmocka_unit_test(assertions_and_headings),
        cmocka_unit_test(trailing_comments_stay),
        cmocka_unit_test(halves),
        cmocka_unit_test(halves_are_exact),
    };
    return cmocka_run_group_tests_name("amalgamate", tests, set_up, tear_down);
}
