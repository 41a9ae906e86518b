/* A disk that fails: the n-th call on files of one folder gives an error, or writes the half of it and then an error.
 *
 * Loaded by LD_PRELOAD; SQLite's, Python's and FAISS's calls all come through here. `failing_disk_arm` is called by the
 * test: it counts from then on, and from the n-th call until it is disarmed every call fails as a full or broken disk's
 * would ("stay"), or that one alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[4096];
static long countdown = -1;
static int failure, torn, stay, hit;

void failing_disk_arm(const char *path, long n, int error, int half, int for_good) {
    strncpy(folder, path, sizeof folder - 1);
    failure = error, torn = half, stay = for_good, hit = 0;
    countdown = n;
}

int failing_disk_disarm(void) {
    countdown = -1;
    return hit;
}

static int concerns_path(const char *path) { return strncmp(path, folder, strlen(folder)) == 0; }

static int concerns(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return concerns_path(path);
}

static int fails(void) {
    if (countdown < 0) return 0;
    if (countdown > 0) {
        countdown--;
        return 0;
    }
    hit++;
    if (!stay) countdown = -1;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define WRITE_AT(name, offset_type) \
    ssize_t name(int descriptor, const void *content, size_t count, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        if (countdown >= 0 && concerns(descriptor) && fails()) { \
            if (torn && count > 1) real(descriptor, content, count / 2, offset); \
            errno = failure; \
            return -1; \
        } \
        return real(descriptor, content, count, offset); \
    }

WRITE_AT(pwrite, off_t)
WRITE_AT(pwrite64, off64_t)

ssize_t write(int descriptor, const void *content, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (countdown >= 0 && concerns(descriptor) && fails()) {
        if (torn && count > 1) real(descriptor, content, count / 2);
        errno = failure;
        return -1;
    }
    return real(descriptor, content, count);
}

#define ON_DESCRIPTOR(name) \
    int name(int descriptor) { \
        REAL(int, name, int); \
        if (countdown >= 0 && concerns(descriptor) && fails()) { \
            errno = failure; \
            return -1; \
        } \
        return real(descriptor); \
    }

ON_DESCRIPTOR(fsync)
ON_DESCRIPTOR(fdatasync)

#define TRUNCATE(name, offset_type) \
    int name(int descriptor, offset_type length) { \
        REAL(int, name, int, offset_type); \
        if (countdown >= 0 && concerns(descriptor) && fails()) { \
            errno = failure; \
            return -1; \
        } \
        return real(descriptor, length); \
    }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define ON_PATHS(name) \
    int name(const char *from, const char *to) { \
        REAL(int, name, const char *, const char *); \
        if (countdown >= 0 && (concerns_path(from) || concerns_path(to)) && fails()) { \
            errno = failure; \
            return -1; \
        } \
        return real(from, to); \
    }

ON_PATHS(rename)
ON_PATHS(link)

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (countdown >= 0 && concerns_path(path) && fails()) {
        errno = failure;
        return -1;
    }
    return real(path);
}
