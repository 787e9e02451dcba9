/* test_diag.c: what a diagnostic looks like, to the character. */
#include "amdimc.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    Diagnostics d;
    char *text;
    size_t length;
} Said;

static void listen(Said *s)
{
    *s = (Said){0};
    s->d.stream = open_memstream(&s->text, &s->length);
    assert_non_null(s->d.stream);
}

static void expect_said(Said *s, const char *expected)
{
    fclose(s->d.stream);
    assert_string_equal(s->text, expected);
    free(s->text);
}

static Source source_of(const char *text)
{
    return (Source){"a.yaml", text, strlen(text)};
}

static void expect_error(const char *text, Mark at, const char *expected)
{
    Said said;
    Source source = source_of(text);
    at.source = &source;
    listen(&said);
    diag_error(&said.d, at, "wrong");
    assert_int_equal(said.d.errors, 1);
    expect_said(&said, expected);
}

static void error_shows_line_and_caret(void **state)
{
    (void)state;
    expect_error("one\n  two: three\nfour\n", (Mark){.line = 2, .column = 8, .length = 5},
                 "a.yaml:2:8: error: wrong\n    2 |   two: three\n      |        ^~~~~\n");
}

static void lines_end_as_editors_think(void **state)
{
    (void)state;
    const char *expected = "a.yaml:3:1: error: wrong\n    3 | three\n      | ^\n";
    Mark at = {.line = 3, .column = 1, .length = 1};
    expect_error("one\ntwo\nthree", at, expected);
    expect_error("one\r\ntwo\r\nthree\r\n", at, expected);
    expect_error("one\rtwo\rthree\r", at, expected);
    expect_error("\n\nthree\n", at, expected);
}

static void mark_past_the_end_has_a_caret(void **state)
{
    (void)state;
    expect_error("one\n", (Mark){.line = 2, .column = 1, .length = 1},
                 "a.yaml:2:1: error: wrong\n    2 | \n      | ^\n");
    expect_error("one", (Mark){.line = 1, .column = 90, .length = 7},
                 "a.yaml:1:4: error: wrong\n    1 | one\n      |    ^\n");
    expect_error("", (Mark){.line = 7, .column = 3, .length = 2},
                 "a.yaml:7:1: error: wrong\n    7 | \n      | ^\n");
}

static void underline_stays_in_its_line(void **state)
{
    (void)state;
    expect_error("a: [1,\n 2]\n", (Mark){.line = 1, .column = 4, .length = 7},
                 "a.yaml:1:4: error: wrong\n    1 | a: [1,\n      |    ^~~\n");
}

static void columns_count_characters(void **state)
{
    (void)state;
    expect_error(
        "\xC3\xA4\xE6\x97\xA5: \xC3\xB6\xC3\xB6 x\n", (Mark){.line = 1, .column = 8, .length = 4},
        "a.yaml:1:5: error: wrong\n    1 | \xC3\xA4\xE6\x97\xA5: \xC3\xB6\xC3\xB6 x\n      |     ^~\n");
}

static void tabs_pad_with_tabs(void **state)
{
    (void)state;
    expect_error("\ta\tb\n", (Mark){.line = 1, .column = 4, .length = 1},
                 "a.yaml:1:4: error: wrong\n    1 | \ta\tb\n      | \t \t^\n");
}

static void bytes_that_do_not_print_are_question_marks(void **state)
{
    (void)state;
    /* An escape sequence, a lone continuation, an overlong slash, a surrogate, a right-to-left override. */
    expect_error("\x1B[31m \x80 \xC0\xAF \xED\xA0\x80 \xE2\x80\xAE x\n",
                 (Mark){.line = 1, .column = 19, .length = 1},
                 "a.yaml:1:17: error: wrong\n    1 | ?[31m ? ?? ??? ? x\n      |                 ^\n");
}

static void message_is_filtered_too(void **state)
{
    (void)state;
    Said said;
    listen(&said);
    diag_error(&said.d, (Mark){0}, "not %s", "a\nb\x1B[0m");
    expect_said(&said, "error: not a?b?[0m\n");
}

static void long_message_is_cut(void **state)
{
    (void)state;
    Said said;
    listen(&said);
    diag_error(&said.d, (Mark){0}, "%05000d", 1);
    fclose(said.d.stream);
    assert_in_range(said.length, 1000, 3000);
    assert_int_equal(said.text[said.length - 1], '\n');
    free(said.text);
}

/* The part of the line that is shown holds the marked word, and the caret stands below its first letter. */
static void expect_word_above_caret(size_t word_at)
{
    Said said;
    char text[400];
    memset(text, '.', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text + word_at, "word", 4);
    Source source = source_of(text);
    listen(&said);
    diag_error(&said.d, (Mark){&source, 1, (int)word_at + 1, 4}, "wrong");
    fclose(said.d.stream);
    const char *line = strchr(said.text, '\n') + 1;
    const char *caret_line = strchr(line, '\n') + 1;
    assert_true(caret_line - line < 130);
    assert_int_equal(strstr(line, "word") - line, strchr(caret_line, '^') - caret_line);
    assert_non_null(strstr(caret_line, "^~~~\n"));
    free(said.text);
}

static void long_line_is_shown_around_its_mark(void **state)
{
    (void)state;
    static const size_t place[] = {0, 40, 59, 60, 61, 96, 97, 100, 200, 395};
    for (size_t i = 0; i < COUNT(place); i++)
        expect_word_above_caret(place[i]);
}

static void note_needs_no_place_and_is_no_error(void **state)
{
    (void)state;
    Said said;
    Source source = source_of("abc\n");
    listen(&said);
    diag_note(&said.d, (Mark){0}, "nowhere");
    diag_note(&said.d, (Mark){&source, 1, 2, 2}, "here");
    assert_int_equal(said.d.errors, 0);
    expect_said(&said, "note: nowhere\na.yaml:1:2: note: here\n    1 | abc\n      |  ^~\n");
}

static void color_only_where_asked(void **state)
{
    (void)state;
    Said said;
    listen(&said);
    said.d.color = true;
    diag_error(&said.d, (Mark){0}, "wrong");
    fclose(said.d.stream);
    assert_non_null(strstr(said.text, "\033[1;31merror: \033[0mwrong\n"));
    free(said.text);
}

static void arena_keeps_what_it_gives(void **state)
{
    (void)state;
    enum { ROUNDS = 300 };
    Arena *a = arena_new();
    unsigned char *given[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        size_t bytes = (size_t)i * 37;
        given[i] = arena_zeroed(a, bytes);
        assert_non_null(given[i]);
        assert_int_equal((uintptr_t)given[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < bytes; j++)
            assert_int_equal(given[i][j], 0);
        memset(given[i], i & 0xFF, bytes);
    }
    for (int i = 0; i < ROUNDS; i++)
        for (size_t j = 0; j < (size_t)i * 37; j++)
            assert_int_equal(given[i][j], i & 0xFF);
    assert_string_equal(arena_copy(a, "abcdef", 3), "abc");
    assert_string_equal(arena_printf(a, "%d-%s", 7, "x"), "7-x");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_shows_line_and_caret),
        cmocka_unit_test(lines_end_as_editors_think),
        cmocka_unit_test(mark_past_the_end_has_a_caret),
        cmocka_unit_test(underline_stays_in_its_line),
        cmocka_unit_test(columns_count_characters),
        cmocka_unit_test(tabs_pad_with_tabs),
        cmocka_unit_test(bytes_that_do_not_print_are_question_marks),
        cmocka_unit_test(message_is_filtered_too),
        cmocka_unit_test(long_message_is_cut),
        cmocka_unit_test(long_line_is_shown_around_its_mark),
        cmocka_unit_test(note_needs_no_place_and_is_no_error),
        cmocka_unit_test(color_only_where_asked),
        cmocka_unit_test(arena_keeps_what_it_gives),
    };
    return cmocka_run_group_tests_name("diag", tests, NULL, NULL);
}
