/* Short waits for POV-Ray 3.7, which polls its own threads; loaded into it with LD_PRELOAD.
 *
 * POV-Ray's threads do not wake each other: each looks every 10 or 50 ms whether another has got
 * on (nanosleep in its front end, waits on condition variables with a timeout in its back end,
 * through boost). A process that starts, parses, renders and ends does so a dozen times, and
 * sleeps 0.6 s in all, whatever its picture costs. Here such a wait ends after 1 ms.
 *
 * While POV-Ray computes there is nothing to be seen, and a thousand looks a second by each of the
 * threads that wait take 3 % of a core (measured). So a wait is the longer the longer the process
 * has computed without a pause, up to 10 ms; when it pauses, as at the end of its picture, they are
 * short again.
 *
 * That is safe for whoever waits so: a condition variable may wake without cause (POSIX,
 * pthread_cond_timedwait), so its waiter looks again; and a sleep of less than LONGEST is, in
 * POV-Ray, always one turn of a loop that looks at something. Longer waits, and all that is not a
 * wait, stay as they are; no value that a scene can see comes from here.
 *
 * No headers are included, so that a compiler alone (tcc: 0.3 MB) can build it. The declarations
 * are those of the LP64 systems that povstorm knows: 64-bit Linux with glibc.
 */

typedef int clockid_t;
struct timespec {
    long tv_sec;
    long tv_nsec;
};

extern void *dlsym(void *handle, const char *name);
extern int clock_gettime(clockid_t clock, struct timespec *now);

#define NEXT ((void *)-1L) /* RTLD_NEXT: the definition that this one stands before */
#define REALTIME 0
#define MONOTONIC 1
#define PROCESS_TIME 2 /* CLOCK_PROCESS_CPUTIME_ID */
#define ABSOLUTE 1     /* TIMER_ABSTIME */

#define SECOND 1000000000L /* nanoseconds, as all below */
#define LONGEST 300000000L /* waits below are POV-Ray's polling */
#define SHORT 1000000L     /* what they take here, */
#define LONG 10000000L     /* and at most: as long as the shortest of POV-Ray's own */
#define PART 16            /* a wait is this part of the time for which POV-Ray has computed */
#define SOME 10            /* who uses less than this part of a core does not: looking takes less */
#define PAUSE 8000000L     /* and has paused after so long; a turn of others takes less */

typedef int wait_until(void *condition, void *mutex, const struct timespec *until);
typedef int wait_until_by(void *condition, void *mutex, clockid_t clock,
                          const struct timespec *until);
typedef int sleep_for(const struct timespec *time, struct timespec *left);
typedef int sleep_by(clockid_t clock, int flags, const struct timespec *time,
                     struct timespec *left);

/* How long a wait that begins now may be, SHORT to LONG.
 *
 * Threads share what is remembered without locking it: each value is one word, and one that is a
 * look too old makes a wait a little longer or shorter.
 */
static long patience(void)
{
    static long looked, used_then, computed, busy_since;
    struct timespec now, cpu;
    long time, used, wait;

    if (clock_gettime(MONOTONIC, &now) != 0 || clock_gettime(PROCESS_TIME, &cpu) != 0)
        return SHORT;
    time = now.tv_sec * SECOND + now.tv_nsec;
    used = cpu.tv_sec * SECOND + cpu.tv_nsec;
    /* Looks that follow each other at once tell nothing of what was used between them. */
    if (time - looked >= SHORT) {
        if ((used - used_then) * SOME >= time - looked)
            computed = time;
        if (time - computed > PAUSE)
            busy_since = time;
        looked = time;
        used_then = used;
    }
    wait = (time - busy_since) / PART;
    return wait < SHORT ? SHORT : wait > LONG ? LONG : wait;
}

/* Whether to wait so many nanoseconds is to be shortened to so many. */
static int is_longer(long wait, long shorter)
{
    return wait > shorter && wait < LONGEST;
}

/* The nanoseconds from now until then; 0 for what is more than a second from now. */
static long nanoseconds(const struct timespec *now, const struct timespec *then)
{
    long seconds = then->tv_sec - now->tv_sec;

    if (seconds < -1 || seconds > 1)
        return 0;
    return seconds * SECOND + then->tv_nsec - now->tv_nsec;
}

/* Shorten a wait until a moment of that clock; whether it was one to be shortened. */
static int shorten(clockid_t clock, const struct timespec *until, struct timespec *shorter)
{
    struct timespec now;
    long wait = patience();

    if (clock_gettime(clock, &now) != 0 || !is_longer(nanoseconds(&now, until), wait))
        return 0;
    shorter->tv_sec = now.tv_sec;
    shorter->tv_nsec = now.tv_nsec + wait;
    if (shorter->tv_nsec >= SECOND) {
        shorter->tv_sec += 1;
        shorter->tv_nsec -= SECOND;
    }
    return 1;
}

int pthread_cond_timedwait(void *condition, void *mutex, const struct timespec *until)
{
    static wait_until *wait;
    struct timespec shorter;

    if (!wait)
        wait = (wait_until *)dlsym(NEXT, "pthread_cond_timedwait");
    /* By which clock it waits is the variable's secret. Their readings are decades apart, so that
     * only the right one can show a moment that is near. */
    if (shorten(MONOTONIC, until, &shorter) || shorten(REALTIME, until, &shorter))
        until = &shorter;
    return wait(condition, mutex, until);
}

int pthread_cond_clockwait(void *condition, void *mutex, clockid_t clock,
                           const struct timespec *until)
{
    static wait_until_by *wait;
    struct timespec shorter;

    if (!wait)
        wait = (wait_until_by *)dlsym(NEXT, "pthread_cond_clockwait");
    if (shorten(clock, until, &shorter))
        until = &shorter;
    return wait(condition, mutex, clock, until);
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    static sleep_for *sleep;
    struct timespec shorter = {0, SHORT};

    if (!sleep)
        sleep = (sleep_for *)dlsym(NEXT, "nanosleep");
    shorter.tv_nsec = patience();
    if (time->tv_sec == 0 && is_longer(time->tv_nsec, shorter.tv_nsec))
        time = &shorter;
    return sleep(time, left);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                    struct timespec *left)
{
    static sleep_by *sleep;
    struct timespec shorter = {0, SHORT};

    if (!sleep)
        sleep = (sleep_by *)dlsym(NEXT, "clock_nanosleep");
    if (flags & ABSOLUTE) {
        if (shorten(clock, time, &shorter))
            time = &shorter;
    } else {
        shorter.tv_nsec = patience();
        if (time->tv_sec == 0 && is_longer(time->tv_nsec, shorter.tv_nsec))
            time = &shorter;
    }
    return sleep(clock, flags, time, left);
}
