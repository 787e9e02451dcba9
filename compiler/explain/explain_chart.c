/* explain_chart.c: a bar chart of what is live in the arena, operation by operation, in plain ASCII. Where a
 * column stands for several operations it shows the fullest of them. */
#include "explain.h"

enum { ROWS = 12, LABEL = 12 };
static const char marks[PURPOSES] = {'#', '%', '+', ':'};

typedef struct {
    const Explanation *e;
    FILE *stream;
    int columns, ops;
    size_t top; /* bytes */
} Chart;

/* The operations of column i are those from first_op(i) up to first_op(i + 1). */
static int first_op(const Chart *c, int column)
{
    return (int)((int64_t)column * c->ops / c->columns);
}

static const Moment *fullest_of(const Chart *c, int column)
{
    const Moment *best = &c->e->moment[first_op(c, column)];
    for (int i = first_op(c, column); i < first_op(c, column + 1); i++)
        if (c->e->moment[i].live > best->live)
            best = &c->e->moment[i];
    return best;
}

/* Purposes are stacked from the bottom in their order; a row stands for its middle. */
static char mark_at(const Chart *c, int column, int row)
{
    const Moment *m = fullest_of(c, column);
    double level = (row + 0.5) / ROWS * (double)c->top, filled = 0;
    for (int i = 0; i < PURPOSES; i++) {
        filled += (double)m->bytes[i];
        if (level < filled)
            return marks[i];
    }
    return ' ';
}

static void draw_row(const Chart *c, int row)
{
    if (row == ROWS - 1)
        fprintf(c->stream, "%*.1f MiB |", LABEL - 5, (double)c->top / (1 << 20));
    else
        fprintf(c->stream, "%*s|", LABEL, "");
    int drawn = 0;
    for (int i = 0; i < c->columns; i++) {
        char mark = mark_at(c, i, row);
        if (mark == ' ')
            continue;
        fprintf(c->stream, "%*s%c", i - drawn, "", mark);
        drawn = i + 1;
    }
    fputc('\n', c->stream);
}

/* Where the first operation of the backward pass is. */
static int backward_column(const Chart *c)
{
    int column = 0;
    while (column < c->columns - 1 && first_op(c, column + 1) <= c->e->forward_ops + 1)
        column++;
    return column;
}

static void draw_axis(const Chart *c)
{
    int backward = backward_column(c);
    fprintf(c->stream, "%*s+", LABEL, "0 ");
    for (int i = 0; i < c->columns; i++)
        fputc(i == backward ? '|' : '-', c->stream);
    fprintf(c->stream, "\n%*s %-*s| backward\n", LABEL, "", backward, backward < 8 ? "" : "forward");
}

void explain_chart(const Explanation *e, int width, FILE *stream)
{
    int ops = e->program->step->ops, room = width - LABEL - 1;
    Chart c = {e, stream, ops < room ? ops : room, ops, e->program->peak.arena};
    for (int row = ROWS - 1; row >= 0; row--)
        draw_row(&c, row);
    draw_axis(&c);
    fprintf(stream, "%*s ", LABEL, "");
    for (int i = 0; i < PURPOSES; i++)
        fprintf(stream, "%s%c %s", i ? "   " : "", marks[i], purpose_names[i]);
    fputc('\n', stream);
}
