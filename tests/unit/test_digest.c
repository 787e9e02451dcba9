/* test_digest.c: XXH64's own check values, and that pieces do not matter. */
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* From the specification of XXH64 (doc/xxhash_spec.md's reference, seed 0): the empty text, "a", "abc". */
static void test_check_values(void **state)
{
    (void)state;
    Digest d;
    digest_begin(&d);
    assert_true(digest_end(&d) == UINT64_C(0xef46db3751d8e999));
    digest_add(&d, NULL, 0);
    digest_add(&d, "a", 1);
    assert_true(digest_end(&d) == UINT64_C(0xd24ec4f1a98c6e5b));
    digest_add(&d, "bc", 2);
    assert_true(digest_end(&d) == UINT64_C(0x44bc2cf5ad770999));
}

static void test_pieces_of_any_length(void **state)
{
    (void)state;
    enum { BYTES = 1000 };
    uint8_t bytes[BYTES];
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    Digest whole;
    digest_begin(&whole);
    digest_add(&whole, bytes, BYTES);
    for (size_t piece = 1; piece < 100; piece += 7) {
        Digest d;
        digest_begin(&d);
        for (size_t done = 0; done < BYTES; done += piece)
            digest_add(&d, bytes + done, BYTES - done < piece ? BYTES - done : piece);
        assert_true(digest_end(&d) == digest_end(&whole));
    }
    bytes[BYTES / 2] ^= 1;
    Digest other;
    digest_begin(&other);
    digest_add(&other, bytes, BYTES);
    assert_true(digest_end(&other) != digest_end(&whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_values),
        cmocka_unit_test(test_pieces_of_any_length),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
