/* page.h: pages of HTML that need nothing else, and the charts on them. Needs only the C library, so that the
 * compiler's pages can use it too.
 *
 * Every text given here is escaped; `name`, `title` and the like are plain text, never markup. */
#ifndef PAGE_H
#define PAGE_H

#include <stdbool.h>
#include <stdio.h>

/* ---- page.c: what every page shares ---- */

typedef struct {
    const char *heading, *what;     /* the tab's title is "HEADING: WHAT" */
    const char *subtitle;           /* a line below the heading */
    const char *style, *more_style; /* rules of this page's own, or NULL */
    int refresh;                    /* seconds until an open page loads itself anew; 0: never */
} Page;
void page_begin(FILE *stream, const Page *p);   /* up to and with the heading */
void page_end(FILE *stream);                    /* with the script that makes its charts answer */
void html_text(FILE *stream, const char *text); /* escaped */
void html_format(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A row of figures. */
void page_tiles_begin(FILE *stream);
void page_tile(FILE *stream, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void page_tiles_end(FILE *stream);

/* A card with a title; on narrow screens each is as wide as the page. `note` may be NULL. */
typedef enum { SECTION_WHOLE, SECTION_HALF, SECTION_THIRD } SectionWidth;
void page_section_begin(FILE *stream, SectionWidth width, const char *title, const char *note);
void page_section_end(FILE *stream);

/* A table of two columns. A table of figures is <table class="numbers">. */
void page_facts_begin(FILE *stream);
void page_fact(FILE *stream, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void page_facts_end(FILE *stream);

/* The names of a chart's curves in their colours, each with what `format` makes behind it. */
void page_legend_begin(FILE *stream);
void page_legend_item(FILE *stream, int curve, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void page_legend_end(FILE *stream);

/* ---- page_script.c: hover, smoothing and logarithmic axes of all charts on the page ---- */

extern const char page_script_style[]; /* of what the script adds */
void page_script(FILE *stream);

/* ---- chart.c: curves, as inline SVG, with their values in attributes for the script ---- */

enum { CHART_COLOURS = 8 }; /* curve i has the style sheet's class c(i % CHART_COLOURS) */

typedef struct {
    const char *x_label; /* NULL: "step" */
    const char *y_label;
    int width, height; /* units of the drawing; a letter is about 7 wide */
    bool from_zero;    /* the y axis begins at 0 */
    int points, curves;
    const double *x;         /* (points), ascending, from 0 up */
    const double *const *y;  /* (curves)(points); a curve leaves out what is not finite */
    const char *const *name; /* (curves) what the pointer reads; NULL: y_label */
} Chart;
void chart_draw(FILE *stream, const Chart *c);
void chart_number(char *text, size_t size, double value); /* as on the axes: 0, 0.25, 5e-4, 2.5k */
/* The smallest of 1, 2, 5 times a power of ten that cuts the range into at most `most` parts. */
double chart_tick(double range, int most);

#endif
