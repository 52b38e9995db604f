#pragma once
/* The nearest valid name to a misspelt one. */

typedef struct {
  const char *wanted;
  char best[128]; /* "" while nothing is near enough */
  int distance;
} CourantSuggestion;

void CourantSuggestBegin(CourantSuggestion *, const char *wanted);
void CourantSuggestOffer(CourantSuggestion *, const char *name);
void CourantSuggestPrefer(CourantSuggestion *, const char *name);
const char *CourantSuggestPhrase(CourantSuggestion *, char *text, int size);
