/* utf8.c: see utf8.h. */
#include "utf8.h"

/* Bytes announced by the first one; 0 where none can begin with it. */
static size_t announced(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first < 0xE0)
        return 2;
    if (first >= 0xE0 && first < 0xF0)
        return 3;
    return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

static bool shortest_form(uint32_t code, size_t bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code >= least[bytes] && code <= 0x10FFFF && !surrogate;
}

size_t utf8_next(const char *text, size_t left, uint32_t *code)
{
    const unsigned char *byte = (const unsigned char *)text;
    size_t bytes = announced(byte[0]);
    *code = UTF8_INVALID;
    if (bytes == 0 || bytes > left)
        return 1;
    uint32_t value = bytes == 1 ? byte[0] : byte[0] & (0x7Fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((byte[i] & 0xC0) != 0x80)
            return 1;
        value = value << 6 | (byte[i] & 0x3Fu);
    }
    if (!shortest_form(value, bytes))
        return 1;
    *code = value;
    return bytes;
}

static bool is_between(uint32_t code, uint32_t first, uint32_t last)
{
    return code >= first && code <= last;
}

bool utf8_harmless(uint32_t code)
{
    bool control = code < 0x20 || is_between(code, 0x7F, 0x9F);
    bool line = code == 0x2028 || code == 0x2029;
    bool direction = code == 0x061C || code == 0x200E || code == 0x200F || is_between(code, 0x202A, 0x202E) ||
                     is_between(code, 0x2066, 0x206F);
    return code != UTF8_INVALID && !control && !line && !direction;
}

bool utf8_printable(uint32_t code)
{
    bool no_width = is_between(code, 0x200B, 0x200D) || is_between(code, 0x2060, 0x2065) || code == 0xFEFF;
    return utf8_harmless(code) && !no_width;
}

size_t utf8_count(const char *text, size_t length)
{
    size_t characters = 0;
    uint32_t code;
    for (size_t at = 0; at < length; characters++)
        at += utf8_next(text + at, length - at, &code);
    return characters;
}

size_t utf8_bytes(const char *text, size_t length, size_t characters)
{
    size_t at = 0;
    uint32_t code;
    for (; at < length && characters > 0; characters--)
        at += utf8_next(text + at, length - at, &code);
    return at;
}
