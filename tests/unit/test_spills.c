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
static const char *const kernels[] = {
    "tile_of_rows", "tile_of_patches",      "grad_w_rows_",   "grad_w_steps_",
    "sparse_",      "masked_rows_by_depth", "batchnorm_view", "batchnorm_grad_part"};

enum { FEWEST_ADDS = 4, LONGEST_LOOP = 400 }; /* instructions */

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

/* Lines [first, last] of the function, a loop that has no other in it. */
static void look_at_loop(const char *march, const char *function, char **line, int first, int last,
                         Found *found)
{
    int adds = 0;
    for (int i = first; i <= last; i++)
        adds += strstr(line[i], "\tvfmadd") != NULL;
    if (adds < FEWEST_ADDS)
        return;
    found->loops++;
    for (int i = first; i <= last; i++)
        if (is_vector_store_to_stack(line[i]))
            fail_msg("-march=%s: %s stores in its loop: %s", march, function, line[i]);
}

/* The lines [first, last) of a function. */
static void look_at_function(const char *march, const char *function, char **line, int first, int last,
                             Found *found)
{
    const int before = found->loops;
    for (int jump = first; jump < last; jump++)
        for (int label = jump; label >= first && jump - label < LONGEST_LOOP; label--) {
            if (label < jump && line[label][0] == '\t' && line[label][1] == 'j')
                for (int inner = label; inner >= first && jump - inner < LONGEST_LOOP; inner--)
                    if (is_label(line[inner]) && leads_to(line[label], line[inner]))
                        label = first; /* a loop in it */
            if (label > first && is_label(line[label]) && leads_to(line[jump], line[label])) {
                look_at_loop(march, function, line, label, jump, found);
                break;
            }
        }
    found->kernels += found->loops > before;
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
            look_at_function(march, function, line, first, i, &found);
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
    static const char *const march[] = {"haswell", "skylake-avx512"};
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
    static char text[6][48] = {"tile_of_rows:",
                               ".LBB0_1:",
                               "\tvfmadd231ps\t%ymm1, %ymm2, %ymm3",
                               "\tvfmadd231ps\t%ymm1, %ymm2, %ymm4",
                               "\tjne\t.LBB0_1",
                               ".Lfunc_end0:"};
    char *line[] = {text[0], text[1], text[2], text[2], text[3], text[3], text[4], text[5]};
    Found found = {0};
    look_at_function("x", "tile_of_rows", line, 0, 7, &found);
    assert_int_equal(found.loops, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_in_a_loop_is_seen),
        cmocka_unit_test(no_loop_of_multiply_adds_stores_to_the_stack),
    };
    return cmocka_run_group_tests_name("spills", tests, scratch_set_up, scratch_tear_down);
}
