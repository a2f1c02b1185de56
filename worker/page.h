/*
 * page.h - worker/page.html, compiled in (worker/embed.sh makes page.c), and what its browser may do with it.
 */
#ifndef PAGE_H
#define PAGE_H

extern const char page_html[];
/* The value of its Content-Security-Policy: its own scripts by their hash, and no others. */
extern const char page_policy[];

#endif
