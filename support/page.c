/* page.c: what every page of HTML shares: its head with the style sheet, and the parts that pages are made
 * of. */
#include "page.h"
#include "utf8.h"
#include <stdarg.h>
#include <string.h>

/* clang-format would fill its lines; a rule a line is read more easily. */
// clang-format off
static const char style[] =
    ":root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --ink: #1c1e21; --soft: #5f656c;\n"
    "  --line: #e4e5e2; --good: #1f7a4d; --c0: #2463a8; --c1: #c2571a; --c2: #2e7d4f; --c3: #7a4fc0;\n"
    "  --c4: #b03378; --c5: #8a6a00; --c6: #0b7a86; --c7: #6a7078 }\n"
    "@media (prefers-color-scheme: dark) { :root { --page: #141619; --card: #1c1f23; --ink: #e7e8ea;\n"
    "  --soft: #9ba2aa; --line: #31363c; --good: #6cc490; --c0: #72aef0; --c1: #f0935a; --c2: #6cc490;\n"
    "  --c3: #b497f0; --c4: #ec82b4; --c5: #d8b648; --c6: #5cc3cf; --c7: #a9b0b8 } }\n"
    "* { box-sizing: border-box }\n"
    "body { margin: 0; background: var(--page); color: var(--ink); font-variant-numeric: tabular-nums;\n"
    "  font: 15px/1.5 system-ui, -apple-system, \"Segoe UI\", \"DejaVu Sans\", sans-serif }\n"
    "main { max-width: 1200px; margin: 0 auto; padding: 28px 20px 48px;\n"
    "  display: grid; grid-template-columns: repeat(6, 1fr); gap: 16px }\n"
    "header, .tiles, .whole { grid-column: 1 / -1 }\n"
    ".half { grid-column: span 3 }\n"
    ".third { grid-column: span 2 }\n"
    "h1 { margin: 0; font-size: 26px; line-height: 1.25; font-weight: 650; overflow-wrap: anywhere }\n"
    "h2 { margin: 0 0 4px; font-size: 16px; font-weight: 600 }\n"
    "header p { margin: 2px 0 0; color: var(--soft) }\n"
    ".tiles { display: flex; flex-wrap: wrap; gap: 16px }\n"
    ".tiles div, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;\n"
    "  min-width: 0 }\n"
    ".tiles div { flex: 1 1 150px; padding: 12px 16px }\n"
    ".tiles b { display: block; font-size: 22px; line-height: 1.3; font-weight: 600 }\n"
    ".tiles span { color: var(--soft); font-size: 13px }\n"
    "section { padding: 14px 16px }\n"
    "section p { margin: 0 0 10px; max-width: 110ch; color: var(--soft); font-size: 13px }\n"
    "svg { display: block; width: 100%; height: auto; font-size: 12px }\n"
    "svg text { fill: var(--soft) }\n"
    ".grid, .base { stroke: var(--line); stroke-width: 1 }\n"
    ".base { stroke: var(--soft) }\n"
    "polyline { fill: none; stroke: var(--c); stroke-width: 1.75; stroke-linejoin: round;\n"
    "  stroke-linecap: round }\n"
    "circle { fill: var(--c) }\n"
    ".dashed polyline { stroke-dasharray: 5 4 }\n"
    ".c0 { --c: var(--c0) } .c1 { --c: var(--c1) } .c2 { --c: var(--c2) } .c3 { --c: var(--c3) }\n"
    ".c4 { --c: var(--c4) } .c5 { --c: var(--c5) } .c6 { --c: var(--c6) } .c7 { --c: var(--c7) }\n"
    ".legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 0 0 8px; padding: 0;\n"
    "  list-style: none; font-size: 13px }\n"
    ".legend i { display: inline-block; width: 16px; height: 0; border-top: 3px solid var(--c);\n"
    "  margin-right: 6px; vertical-align: middle }\n"
    ".legend .dashed i { border-top-style: dashed }\n"
    ".legend span { color: var(--soft); margin-left: 6px }\n"
    "table { width: 100%; border-collapse: collapse; font-size: 14px }\n"
    "th, td { padding: 6px 12px 6px 0; text-align: left; vertical-align: top;\n"
    "  border-top: 1px solid var(--line); overflow-wrap: anywhere }\n"
    "tr:first-child > * { border-top: 0 }\n"
    "th { font-weight: 400; color: var(--soft); white-space: nowrap }\n"
    ".numbers th, .numbers td { text-align: right; white-space: normal; overflow-wrap: normal;\n"
    "  padding: 6px 0 6px 12px }\n"
    ".numbers td:first-child, .numbers th:first-child { text-align: left; padding-left: 0 }\n"
    "@media (max-width: 720px) {\n"
    "  main { padding: 20px 12px 32px; gap: 12px }\n"
    "  .half, .third { grid-column: 1 / -1 }\n"
    "  .tiles { gap: 12px }\n"
    "  .tiles div { flex-basis: 110px; padding: 10px 12px }\n"
    "  h1 { font-size: 22px }\n"
    "  .half svg { font-size: 15px }\n"
    "  .third svg { font-size: 11px }\n"
    "}\n";
// clang-format on

static void html_character(FILE *stream, const char *character, size_t bytes)
{
    switch (*character) {
    case '<': fputs("&lt;", stream); break;
    case '>': fputs("&gt;", stream); break;
    case '&': fputs("&amp;", stream); break;
    case '"': fputs("&quot;", stream); break;
    default: fwrite(character, 1, bytes, stream);
    }
}

void html_text(FILE *stream, const char *text)
{
    uint32_t code;
    for (size_t left = strlen(text), bytes; left > 0; text += bytes, left -= bytes) {
        bytes = utf8_next(text, left, &code);
        if (utf8_harmless(code) || code == '\n')
            html_character(stream, text, bytes);
        else
            fputc('?', stream);
    }
}

static void html_formatted(FILE *stream, const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    html_text(stream, text);
}

void html_format(FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    html_formatted(stream, format, arguments);
    va_end(arguments);
}

/* ---- the page's frame ---- */

void page_begin(FILE *stream, const Page *p)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", stream);
    fputs("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n", stream);
    if (p->refresh > 0)
        fprintf(stream, "<meta http-equiv=\"refresh\" content=\"%d\">\n", p->refresh);
    fputs("<title>", stream);
    html_format(stream, "%s: %s", p->heading, p->what);
    fprintf(stream, "</title>\n<style>\n%s%s%s%s</style>\n</head>\n<body>\n<main>\n<header><h1>", style,
            page_script_style, p->style ? p->style : "", p->more_style ? p->more_style : "");
    html_text(stream, p->heading);
    fputs("</h1><p>", stream);
    html_text(stream, p->subtitle);
    fputs("</p></header>\n", stream);
}

void page_end(FILE *stream)
{
    fputs("</main>\n", stream);
    page_script(stream);
    fputs("</body>\n</html>\n", stream);
}

/* ---- its parts ---- */

void page_tiles_begin(FILE *stream)
{
    fputs("<div class=\"tiles\">\n", stream);
}

void page_tile(FILE *stream, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("<div><span>", stream);
    html_text(stream, name);
    fputs("</span><b>", stream);
    html_formatted(stream, format, arguments);
    fputs("</b></div>\n", stream);
    va_end(arguments);
}

void page_tiles_end(FILE *stream)
{
    fputs("</div>\n", stream);
}

void page_section_begin(FILE *stream, SectionWidth width, const char *title, const char *note)
{
    static const char *const classes[] = {"whole", "half", "third"};
    fprintf(stream, "<section class=\"%s\"><h2>", classes[width]);
    html_text(stream, title);
    fputs("</h2>\n", stream);
    if (note == NULL)
        return;
    fputs("<p>", stream);
    html_text(stream, note);
    fputs("</p>\n", stream);
}

void page_section_end(FILE *stream)
{
    fputs("</section>\n", stream);
}

void page_facts_begin(FILE *stream)
{
    fputs("<table>\n", stream);
}

void page_fact(FILE *stream, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("<tr><th>", stream);
    html_text(stream, name);
    fputs("</th><td>", stream);
    html_formatted(stream, format, arguments);
    fputs("</td></tr>\n", stream);
    va_end(arguments);
}

void page_facts_end(FILE *stream)
{
    fputs("</table>\n", stream);
}

void page_legend_begin(FILE *stream)
{
    fputs("<ul class=\"legend\">\n", stream);
}

void page_legend_item(FILE *stream, int curve, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stream, "<li class=\"c%d%s\"><i></i>", curve % CHART_COLOURS,
            curve < CHART_COLOURS ? "" : " dashed");
    html_text(stream, name);
    fputs("<span>", stream);
    html_formatted(stream, format, arguments);
    fputs("</span></li>\n", stream);
    va_end(arguments);
}

void page_legend_end(FILE *stream)
{
    fputs("</ul>\n", stream);
}
