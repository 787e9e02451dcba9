/* taken_names.c: names that a library cannot have, since NAME.py and libNAME are found where others are
 * looked for. */
#include "library.h"
#include <string.h>

/* NumPy, and what Python comes with (sys.stdlib_module_names of 3.11) but private modules: NAME.py imports
 * some, and these others. */
static const char python_modules[] =
    " abc aifc argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb binascii bisect "
    "builtins bz2 calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys "
    "compileall concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses "
    "dataclasses datetime dbm decimal difflib dis distutils doctest email encodings ensurepip enum "
    "errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath "
    "getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html http idlelib imaplib "
    "imghdr imp importlib inspect io ipaddress itertools json keyword lib2to3 linecache locale "
    "logging lzma mailbox mailcap marshal math mimetypes mmap modulefinder msilib msvcrt "
    "multiprocessing netrc nis nntplib nt ntpath nturl2path numbers numpy opcode operator optparse os "
    "ossaudiodev pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix "
    "posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri "
    "random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve "
    "shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile "
    "sre_constants sre_parse ssl stat statistics string stringprep struct subprocess sunau symtable "
    "sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap threading time timeit "
    "tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types typing "
    "unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser winreg winsound "
    "wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib zoneinfo ";
/* Of Python's keywords (keyword.kwlist) those that a spec's name can be: NAME.py could not be imported. */
static const char python_keywords[] = " and as assert async await break class continue def del elif else "
                                      "except finally for from global if import in is "
                                      "lambda nonlocal not or pass raise return try while with yield ";
/* NAME.h would be found in place of the C library's: of C11, and unistd.h, where they are none of Python's
 * modules. */
static const char c_headers[] = " assert complex ctype fenv float inttypes iso646 limits setjmp stdalign "
                                "stdarg stdatomic stdbool stddef stdint "
                                "stdio stdlib stdnoreturn tgmath threads uchar unistd wchar wctype ";
/* What a C compiler links of its own accord, or programs by -lNAME on every system. */
static const char system_libraries[] = " asan atomic c crypt dl gcc m pthread resolv rt ubsan util ";
/* Whose NAME_step or NAME_PAIRS the runtime's own sources have, of which a library is made. */
static const char inner_names[] = " adam sum ";

static bool is_among(Arena *a, const char *name, const char *words)
{
    return strstr(words, arena_printf(a, " %s ", name));
}

bool library_name_is_free(Arena *a, Diagnostics *d, const char *name, Mark at)
{
    if (is_among(a, name, python_modules))
        diag_error(d, at, "%s.py would hide Python's module `%s`: name the model something else", name, name);
    else if (is_among(a, name, python_keywords))
        diag_error(
            d, at,
            "%s.py could not be imported, for `%s` is a keyword of Python: name the model something else",
            name, name);
    else if (is_among(a, name, c_headers))
        diag_error(d, at, "%s.h would hide the C library's <%s.h>: name the model something else", name,
                   name);
    else if (is_among(a, name, system_libraries))
        diag_error(d, at, "lib%s would hide the system's own: name the model something else", name);
    else if (is_among(a, name, inner_names))
        diag_error(d, at, "a library has names that begin with `%s_` inside: name the model something else",
                   name);
    else if (!strcmp(name, "example"))
        diag_error(d, at, "a library has a `%s` of its own: name the model something else", name);
    else
        return true;
    return false;
}
