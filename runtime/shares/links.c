/* links.c: a TCP connection from process 0 to each of the others, for watch.c.
 *
 * Process 0 listens and tells the others, by way of the wire, where: at which addresses, its port, and a
 * number drawn for this training that whoever connects must know. Another machine may have one of its
 * addresses, too (networks of containers, say, are the same everywhere): it does not know the number. IPv4
 * alone, as MPI's own. */
#include "shares_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ADDRESSES = 16, NONE = -1 };
static const double ALL_WITHIN = 10, ONE_WITHIN = 2; /* seconds */

/* What process 0 tells. */
typedef struct {
    uint64_t number; /* 0: it cannot listen */
    in_port_t port;  /* as the network has it, and addresses too */
    uint16_t addresses;
    struct in_addr address[ADDRESSES];
} Offer;

/* What both ends say first. */
typedef struct {
    uint64_t number;
    uint64_t process;
} Greeting;

/* ---- sockets that wait only so long ---- */

static bool is_ready(int socket, short event, double until)
{
    enum { MILLISECONDS = 1000 };
    struct pollfd p = {.fd = socket, .events = event};
    for (;;) {
        const double left = until - clock_seconds();
        const int ready = poll(&p, 1, left > 0 ? (int)(left * MILLISECONDS) + 1 : 0);
        if (ready > 0)
            return true;
        if (left <= 0 || (ready < 0 && errno != EINTR))
            return false;
    }
}

static bool greet(int socket, const Greeting *g)
{
    return send(socket, g, sizeof *g, MSG_NOSIGNAL) == (ssize_t)sizeof *g;
}

static bool await_greeting(int socket, Greeting *g, double until)
{
    for (size_t got = 0; got < sizeof *g;) {
        if (!is_ready(socket, POLLIN, until))
            return false;
        const ssize_t n = recv(socket, (char *)g + got, sizeof *g - got, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* ---- process 0 ---- */

static void add_addresses(Offer *o, const struct ifaddrs *all, bool loopback)
{
    for (const struct ifaddrs *i = all; i != NULL && o->addresses < ADDRESSES; i = i->ifa_next) {
        const bool is_up = (i->ifa_flags & IFF_UP) != 0, is_loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET || !is_up || is_loopback != loopback)
            continue;
        struct sockaddr_in address;
        memcpy(&address, i->ifa_addr, sizeof address);
        o->address[o->addresses++] = address.sin_addr;
    }
}

/* A listening socket, or NONE. */
static int listen_at_all(Offer *o)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t size = sizeof own;
    struct ifaddrs *all;
    *o = (Offer){.number = 0};
    if (getifaddrs(&all) != 0)
        return NONE;
    add_addresses(o, all, false);
    add_addresses(o, all, true);
    freeifaddrs(all);
    const int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening < 0)
        return NONE;
    if (bind(listening, (struct sockaddr *)&own, sizeof own) == 0 && listen(listening, SOMAXCONN) == 0 &&
        getsockname(listening, (struct sockaddr *)&own, &size) == 0 &&
        getrandom(&o->number, sizeof o->number, 0) == (ssize_t)sizeof o->number) {
        o->port = own.sin_port;
        o->number |= 1;
        return listening;
    }
    close(listening);
    *o = (Offer){.number = 0};
    return NONE;
}

/* Who has connected; NULL where it is none of ours. */
static Link *receive(int socket, const Offer *o, Link *link, int links, double until)
{
    Greeting g;
    if (!await_greeting(socket, &g, until) || g.number != o->number || g.process == 0 ||
        g.process > (uint64_t)links)
        return NULL;
    Link *l = &link[g.process - 1];
    return l->socket == NONE && greet(socket, &(Greeting){.number = o->number}) ? l : NULL;
}

static bool accept_all(int listening, const Offer *o, Link *link, int links)
{
    const double until = clock_seconds() + ALL_WITHIN;
    for (int missing = links; missing > 0;) {
        if (!is_ready(listening, POLLIN, until))
            return false;
        const int socket = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0)
            continue;
        Link *l = receive(socket, o, link, links, clock_seconds() + ONE_WITHIN);
        if (l == NULL) {
            close(socket);
            continue;
        }
        l->socket = socket;
        missing--;
    }
    return true;
}

/* ---- the others ---- */

static bool is_connected(int socket)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static bool connect_to(int socket, const Offer *o, int address, int process, double until)
{
    const struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = o->port, .sin_addr = o->address[address]};
    Greeting g;
    if (connect(socket, (const struct sockaddr *)&there, sizeof there) != 0 && errno != EINPROGRESS)
        return false;
    return is_ready(socket, POLLOUT, until) && is_connected(socket) &&
           greet(socket, &(Greeting){.number = o->number, .process = (uint64_t)process}) &&
           await_greeting(socket, &g, until) && g.number == o->number;
}

static bool connect_somewhere(const Offer *o, int process, Link *l)
{
    const double until = clock_seconds() + ALL_WITHIN;
    for (int i = 0; i < o->addresses && clock_seconds() < until; i++) {
        const int made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (made < 0)
            return false;
        if (connect_to(made, o, i, process, clock_seconds() + ONE_WITHIN)) {
            l->socket = made;
            return true;
        }
        close(made);
    }
    return false;
}

/* ---- all ---- */

void links_close(Link *link, int links)
{
    for (int i = 0; i < links; i++) {
        if (link[i].socket != NONE)
            close(link[i].socket);
        link[i].socket = NONE;
    }
}

static bool all_succeeded(const AmdimWire *wire, int processes, char *room, bool done)
{
    const char mine = (char)done;
    wire->gather(&mine, room, 1);
    return memchr(room, false, (size_t)processes) == NULL;
}

bool links_make(const AmdimWire *wire, int process, int processes, Link *link, char *room)
{
    const bool leads = process == 0;
    const int links = leads ? processes - 1 : 1;
    Offer o = {.number = 0};
    int listening = NONE;
    for (int i = 0; i < links; i++)
        link[i] = (Link){.socket = NONE, .process = leads ? i + 1 : 0};
    if (leads)
        listening = listen_at_all(&o);
    wire->tell(&o, sizeof o);
    bool made = o.number != 0;
    if (made)
        made = leads ? accept_all(listening, &o, link, links) : connect_somewhere(&o, process, link);
    if (listening != NONE)
        close(listening);
    if (all_succeeded(wire, processes, room, made))
        return true;
    links_close(link, links);
    return false;
}
