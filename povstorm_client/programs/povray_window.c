/* What POV-Ray 3.7 calls of SDL 1.2, for windows that are never opened; loaded with LD_PRELOAD.
 *
 * POV-Ray can show a picture in a window while it renders it. povstorm renders with -D, without
 * one, and in a sandbox in which there is no display; but POV-Ray is linked with SDL, and that with
 * 33 libraries of X11, sound and the like, which each process loads and binds: 5 of the 15 ms of CPU
 * time that it takes for an empty picture (measured). This library is built with SDL's name
 * (-soname), and the loader, which finds that name there already, loads no other.
 *
 * With -D none of these functions is called. They fail as SDL does where it finds no display, so that
 * even with +D POV-Ray would render without a window.
 *
 * No headers are included, so that a compiler alone can build it, as povray_waits.c.
 */

typedef unsigned int bits; /* Uint32 */
typedef unsigned char byte;
struct surface;
struct rectangle;

int SDL_Init(bits subsystems)
{
    (void)subsystems;
    return -1;
}

char *SDL_GetError(void)
{
    return "povstorm opens no windows";
}

struct rectangle **SDL_ListModes(void *format, bits flags)
{
    (void)format, (void)flags;
    return 0;
}

struct surface *SDL_SetVideoMode(int width, int height, int depth, bits flags)
{
    (void)width, (void)height, (void)depth, (void)flags;
    return 0;
}

struct surface *SDL_CreateRGBSurface(bits flags, int width, int height, int depth, bits red,
                                     bits green, bits blue, bits alpha)
{
    (void)flags, (void)width, (void)height, (void)depth;
    (void)red, (void)green, (void)blue, (void)alpha;
    return 0;
}

struct surface *SDL_DisplayFormat(struct surface *surface)
{
    (void)surface;
    return 0;
}

void SDL_FreeSurface(struct surface *surface)
{
    (void)surface;
}

int SDL_LockSurface(struct surface *surface)
{
    (void)surface;
    return -1;
}

void SDL_UnlockSurface(struct surface *surface)
{
    (void)surface;
}

int SDL_FillRect(struct surface *surface, struct rectangle *where, bits color)
{
    (void)surface, (void)where, (void)color;
    return -1;
}

int SDL_UpperBlit(struct surface *from, struct rectangle *part, struct surface *to,
                  struct rectangle *where)
{
    (void)from, (void)part, (void)to, (void)where;
    return -1;
}

void SDL_UpdateRect(struct surface *screen, int x, int y, bits width, bits height)
{
    (void)screen, (void)x, (void)y, (void)width, (void)height;
}

bits SDL_MapRGBA(void *format, byte red, byte green, byte blue, byte alpha)
{
    (void)format, (void)red, (void)green, (void)blue, (void)alpha;
    return 0;
}

void SDL_GetRGBA(bits pixel, void *format, byte *red, byte *green, byte *blue, byte *alpha)
{
    (void)pixel, (void)format;
    *red = *green = *blue = *alpha = 0;
}

int SDL_PollEvent(void *event)
{
    (void)event;
    return 0;
}
