/* test_text.c: text of others is shown without what a terminal or a browser would obey. */
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, const char *shown)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    text_printable(copy);
    assert_string_equal(copy, shown);
}

static void test_plain_text_stays(void **state)
{
    (void)state;
    expect("", "");
    expect("plane.jpg ~", "plane.jpg ~");
    expect("Stra\u00dfe \u732b \U0001F408 \u200d\u200c\ufeff",
           "Stra\u00dfe \u732b \U0001F408 \u200d\u200c\ufeff");
}

static void test_controls_are_shown_as_such(void **state)
{
    (void)state;
    expect("a\033[2Jb", "a?[2Jb");
    expect("\a\n\t\r\x7f", "?????");
    expect("a\xc2\x80\xc2\x9f"
           "b\xc2\xa0",
           "a????b\xc2\xa0"); /* C1, but no other of its neighbours */
}

static void test_what_turns_or_begins_a_line_is_shown_as_such(void **state)
{
    (void)state;
    static const char *const refused[] = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029",
                                          "\u202a", "\u202e", "\u2066", "\u2069"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char text[16], shown[16];
        snprintf(text, sizeof text, "a%sb", refused[i]);
        snprintf(shown, sizeof shown, "a%.*sb", (int)strlen(refused[i]), "???");
        expect(text, shown);
    }
}

static void test_what_is_no_utf8_is_shown_as_such(void **state)
{
    (void)state;
    expect("caf\xe9", "caf?");
    expect("\xe2\x82", "??");                          /* cut off */
    expect("\xc0\xaf\xed\xa0\x80\xf5\x80", "???????"); /* overlong, a surrogate, past the last */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_stays),
        cmocka_unit_test(test_controls_are_shown_as_such),
        cmocka_unit_test(test_what_turns_or_begins_a_line_is_shown_as_such),
        cmocka_unit_test(test_what_is_no_utf8_is_shown_as_such),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
