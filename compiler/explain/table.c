/* table.c: text in columns. */
#include "explain.h"

#include <string.h>

enum { MAX_COLUMNS = 16, GAP = 2 };

void table_begin(Table *t, const char *align)
{
    *t = (Table){.align = align};
    t->row = text_stream_open(&t->text);
    if (strlen(align) > MAX_COLUMNS)
        bug("too many columns in a table");
}

static int cell_length(const char *cell)
{
    return (int)strcspn(cell, "|\n");
}

static void find_widths(const char *text, int *width)
{
    int column = 0;
    for (const char *cell = text; *cell; column = cell[-1] == '\n' ? 0 : column + 1) {
        int length = cell_length(cell);
        if (length > width[column])
            width[column] = length;
        cell += length + 1;
    }
}

/* Blanks are put down when something follows them, so that no line ends in one. */
void table_end(Arena *a, Table *t, FILE *stream)
{
    int width[MAX_COLUMNS] = {0}, column = 0, blanks = 0;
    const char *text = text_stream_close(a, &t->text);
    find_widths(text, width);
    for (const char *cell = text; *cell;) {
        int length = cell_length(cell), spare = width[column] - length;
        int before = t->align[column] == 'r' ? spare : 0;
        blanks += before;
        if (length) {
            fprintf(stream, "%*s%.*s", blanks, "", length, cell);
            blanks = 0;
        }
        blanks += spare - before + GAP;
        column++;
        if (cell[length] == '\n') {
            fputc('\n', stream);
            column = blanks = 0;
        }
        cell += length + 1;
    }
}
