/* Short waits for POV-Ray 3.7, which polls its own threads; loaded into it with LD_PRELOAD.
 *
 * POV-Ray's threads do not wake each other: each looks every 10 or 50 ms whether another has got
 * on (nanosleep in its front end, waits on condition variables with a timeout in its back end,
 * through boost). A process that starts, parses, renders and ends does so a dozen times, and
 * sleeps 0.6 s in all, whatever its picture costs. Here such a wait ends after 1 ms.
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
#define ABSOLUTE 1 /* TIMER_ABSTIME */

#define LONGEST 300000000L /* nanoseconds; waits below are POV-Ray's polling */
#define SHORT 1000000L     /* nanoseconds that they take here */

typedef int wait_until(void *condition, void *mutex, const struct timespec *until);
typedef int wait_until_by(void *condition, void *mutex, clockid_t clock,
                          const struct timespec *until);
typedef int sleep_for(const struct timespec *time, struct timespec *left);
typedef int sleep_by(clockid_t clock, int flags, const struct timespec *time,
                     struct timespec *left);

/* The nanoseconds from now until then; -1 for more than LONGEST, or less than SHORT. */
static long to_shorten(const struct timespec *now, const struct timespec *then)
{
    long seconds = then->tv_sec - now->tv_sec;
    long wait;

    if (seconds < -1 || seconds > 1)
        return -1;
    wait = seconds * 1000000000L + then->tv_nsec - now->tv_nsec;
    return wait > SHORT && wait < LONGEST ? wait : -1;
}

static void soon(const struct timespec *now, struct timespec *then)
{
    then->tv_sec = now->tv_sec;
    then->tv_nsec = now->tv_nsec + SHORT;
    if (then->tv_nsec >= 1000000000L) {
        then->tv_sec += 1;
        then->tv_nsec -= 1000000000L;
    }
}

/* Shorten a wait until a moment of that clock; whether it was one to be shortened. */
static int shorten(clockid_t clock, const struct timespec *until, struct timespec *shorter)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0 || to_shorten(&now, until) < 0)
        return 0;
    soon(&now, shorter);
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
    static const struct timespec shorter = {0, SHORT};

    if (!sleep)
        sleep = (sleep_for *)dlsym(NEXT, "nanosleep");
    if (time->tv_sec == 0 && time->tv_nsec > SHORT && time->tv_nsec < LONGEST)
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
    } else if (time->tv_sec == 0 && time->tv_nsec > SHORT && time->tv_nsec < LONGEST) {
        time = &shorter;
    }
    return sleep(clock, flags, time, left);
}
