/* test_readers.c: what `make fuzz` holds of the readers of files, over their seeds once: whole, cut short,
 * and with bytes changed. */
#include "commands.h"
#include "readers.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { CUTS = 5, CHANGES = 10 };

typedef struct {
    const Reader *reader;
    char folder[512];
    int seeds;
} Round;

static void take_seed(void *arg, const uint8_t *bytes, size_t count)
{
    Round *r = arg;
    uint8_t *changed = malloc(count + 1);
    assert_non_null(changed);
    for (size_t cut = 0; cut <= CUTS; cut++)
        r->reader->take(r->folder, bytes, count * cut / CUTS);
    for (size_t i = 0; i < CHANGES; i++) {
        memcpy(changed, bytes, count);
        changed[i * 2654435761u % (count + 1)] ^= (uint8_t)(1u << i % 8);
        r->reader->take(r->folder, changed, count);
    }
    free(changed);
    r->seeds++;
}

static void test_seeds(void **state)
{
    (void)state;
    for (int i = 0; i < READERS; i++) {
        Round r = {.reader = &readers[i]};
        snprintf(r.folder, sizeof r.folder, "%s", scratch_begin());
        seeds_of(readers[i].name, take_seed, &r);
        scratch_end();
        assert_true(r.seeds > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests_name("readers", tests, NULL, NULL);
}
