/* test_spills.c: no kernel keeps its sums on the stack. In the assembly that clang makes of a program, an
 * innermost loop of multiply-adds stores no vector to the stack; Winograd's transforms, which hold more
 * numbers than there are registers, and the NCE's exponentials may. */
#include "samples.h"
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Dense, sparse and masked products of each kind, and batchnorms inside the encoder. */
static const char spec[] = "name: kernels\ninput: {size: 13}\nbatch: 12\n"
                           "encoder:\n"
                           "  - conv: {out: 64, kernel: 2, batchnorm: true}\n"
                           "  - residual: {out: 64, kernel: 1}\n"
                           "  - block: {out: 128, kernel: 2, stride: 2, depth: 2, batchnorm: true}\n"
                           "  - conv: {out: 64, kernel: 3, pad: 1}\n"
                           "  - residual: {out: 64, kernel: 6}\n"
                           "embedding: {dim: 64}\nloss: {pairs: [1-to-6, 6-to-6]}\n";

/* The kernels whose loops are looked at, by how the names of their functions begin. */
static const char *const kernels[] = {"tile_of_rows",         "tile_of_packed", "tile_of_patches",
                                      "grad_w_rows_",         "grad_w_steps_",  "sparse_",
                                      "masked_rows_by_depth", "batchnorm_of",   "batchnorm_grad_of"};

enum { FEWEST_ADDS = 4, LONGEST_LOOP = 400 /* lines */, MOST_LOOPS = 400 };

static bool is_kernel(const char *function)
{
    for (size_t i = 0; i < COUNT(kernels); i++)
        if (!strncmp(function, kernels[i], strlen(kernels[i])))
            return true;
    return false;
}

static bool is_label(const char *line)
{
    return *line && *line != '\t' && *line != ' ' && *line != '#' && strchr(line, ':');
}

/* A line's label, or what a jump leads to, as the other has it. */
static bool leads_to(const char *jump, const char *label)
{
    const char *target = strstr(jump, ".LBB");
    const size_t length = strcspn(label, ":");
    return *jump == '\t' && jump[1] == 'j' && target && !strncmp(target, label, length) &&
           !strchr("0123456789_", target[length] ? target[length] : ' ');
}

static bool is_vector_store_to_stack(const char *line)
{
    const char *stack = strstr(line, "(%rsp)");
    const char *vector = strstr(line, "%ymm"), *wide = strstr(line, "%zmm");
    const char *from = vector && (!wide || vector < wide) ? vector : wide;
    return !strncmp(line, "\tvmov", 5) && stack && from && from < stack;
}

typedef struct {
    int loops, kernels; /* of multiply-adds, in how many of the kernels' functions */
} Found;

/* Lines of a function, from a label to the jump back to it. */
typedef struct {
    int first, last;
} Loop;

static int find_loops(char **line, int first, int last, Loop *loop)
{
    int loops = 0;
    for (int jump = first; jump < last; jump++)
        for (int label = jump - 1; label > first && jump - label < LONGEST_LOOP; label--)
            if (loops < MOST_LOOPS && is_label(line[label]) && leads_to(line[jump], line[label]))
                loop[loops++] = (Loop){label, jump};
    return loops;
}

static bool holds_another(Loop outer, const Loop *loop, int loops)
{
    for (int i = 0; i < loops; i++)
        if (loop[i].first >= outer.first && loop[i].last <= outer.last &&
            (loop[i].first > outer.first || loop[i].last < outer.last))
            return true;
    return false;
}

/* A line of the loop that stores a vector to the stack, or NULL; *adds gets its multiply-adds. */
static const char *store_in(char **line, Loop loop, int *adds)
{
    const char *store = NULL;
    *adds = 0;
    for (int i = loop.first; i <= loop.last; i++) {
        *adds += strstr(line[i], "\tvfmadd") != NULL;
        store = is_vector_store_to_stack(line[i]) ? line[i] : store;
    }
    return store;
}

/* The lines [first, last) of a function: a store in one of its innermost loops, or NULL. */
static const char *store_in_function(char **line, int first, int last, Found *found)
{
    Loop loop[MOST_LOOPS];
    const int loops = find_loops(line, first, last, loop), before = found->loops;
    const char *store = NULL;
    for (int i = 0; i < loops; i++) {
        int adds;
        const char *here = store_in(line, loop[i], &adds);
        if (adds < FEWEST_ADDS || holds_another(loop[i], loop, loops))
            continue;
        found->loops++;
        store = here ? here : store;
    }
    found->kernels += found->loops > before;
    return store;
}

static char **lines_of(const char *path, int *count)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char **line = NULL, *text = NULL;
    size_t room = 0;
    *count = 0;
    for (ssize_t length; (length = getline(&text, &room, file)) > 0; ++*count) {
        text[length - 1] = '\0';
        line = realloc(line, sizeof *line * (size_t)(*count + 1));
        assert_non_null(line);
        line[*count] = strdup(text);
    }
    free(text);
    fclose(file);
    return line;
}

static Found look_at(const char *march, const char *path)
{
    Found found = {0};
    int count, first = -1;
    char function[128] = "", **line = lines_of(path, &count);
    for (int i = 0; i < count; i++) {
        if (is_label(line[i]) && *line[i] != '.') {
            snprintf(function, sizeof function, "%.*s", (int)strcspn(line[i], ":"), line[i]);
            first = is_kernel(function) ? i : -1;
        } else if (first >= 0 && strstr(line[i], ".Lfunc_end")) {
            const char *store = store_in_function(line, first, i, &found);
            if (store)
                fail_msg("-march=%s: %s stores in its loop: %s", march, function, store);
            first = -1;
        }
    }
    for (int i = 0; i < count; i++)
        free(line[i]);
    free(line);
    return found;
}

static const char *cc(void)
{
    const char *given = getenv("AMDIMC_CLANG");
    return given && *given ? given : "clang";
}

static void no_loop_of_multiply_adds_stores_to_the_stack(void **state)
{
    (void)state;
    static const char *const march[] = {"haswell", "skylake-avx512", "icelake-server"};
    if (shell("%s --version | grep -q clang && echo | %s --target=x86_64-linux-gnu -march=haswell -x c -S -o "
              "/dev/null -",
              cc(), cc()))
        skip();
    scratch_write("kernels.yaml", spec, sizeof spec - 1);
    for (size_t i = 0; i < COUNT(march); i++) {
        char folder[512], assembly[512];
        snprintf(folder, sizeof folder, "%s", scratch_path(march[i]));
        snprintf(assembly, sizeof assembly, "%s/kernels.s", folder);
        /* What a program is compiled with, up to its assembly. */
        assert_int_equal(shell("%s --emit=c --target x86_64-linux-gnu --march %s --blas none -o %s %s",
                               amdimc_path(), march[i], folder, scratch_path("kernels.yaml")),
                         0);
        assert_int_equal(
            shell("%s --target=x86_64-linux-gnu -march=%s -std=c17 -O3 -ffp-contract=fast -fno-math-errno "
                  "-I%s -I%s/runtime -S -o %s %s/kernels.c",
                  cc(), march[i], folder, folder, assembly, folder),
            0);
        const Found found = look_at(march[i], assembly);
        print_message("-march=%s: %d loops in %d functions\n", march[i], found.loops, found.kernels);
        assert_true(found.kernels >= 8);
    }
}

/* What the test looks for, it sees. */
static void a_store_in_a_loop_is_seen(void **state)
{
    (void)state;
    assert_true(is_vector_store_to_stack("\tvmovaps\t%ymm3, 64(%rsp)                   # 32-byte Spill"));
    assert_true(is_vector_store_to_stack("\tvmovups\t%zmm14, (%rsp)"));
    assert_false(is_vector_store_to_stack("\tvmovaps\t64(%rsp), %ymm3"));
    assert_false(is_vector_store_to_stack("\tvmovups\t%ymm3, (%rdi)"));
    assert_true(leads_to("\tjne\t.LBB3_12", ".LBB3_12:                                # =>This"));
    assert_false(leads_to("\tjne\t.LBB3_125", ".LBB3_12:"));
    assert_false(leads_to("\tjne\t.LBB3_1", ".LBB3_12:"));
    char function[] = "tile_of_rows:", label[] = ".LBB0_1:", add[] = "\tvfmadd231ps\t%ymm1, %ymm2, %ymm3",
         spill[] = "\tvmovups\t%ymm3, 64(%rsp)", back[] = "\tjne\t.LBB0_1", end[] = ".Lfunc_end0:";
    char *good[] = {function, spill, label, add, add, add, add, back, spill, end},
         *bad[] = {function, label, add, add, spill, add, add, back, end};
    Found found = {0};
    assert_null(store_in_function(good, 0, 9, &found));
    assert_int_equal(found.loops, 1);
    assert_ptr_equal(store_in_function(bad, 0, 8, &found), spill);
    assert_int_equal(found.loops, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_in_a_loop_is_seen),
        cmocka_unit_test(no_loop_of_multiply_adds_stores_to_the_stack),
    };
    return cmocka_run_group_tests_name("spills", tests, scratch_set_up, scratch_tear_down);
}
