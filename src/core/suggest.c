#include "core/suggest.h"
#include <stdio.h>
#include <string.h>

#define LONGEST 127

static int Min(int a, int b)
{
  return a < b ? a : b;
}

/* Edit distance with neighbouring letters swapped counted once (optimal string alignment). */
static int Distance(const char *a, const char *b)
{
  const int na = (int)strlen(a), nb = (int)strlen(b);
  int rows[3][LONGEST + 1], *before = rows[0], *above = rows[1], *row = rows[2];

  if (na > LONGEST || nb > LONGEST) return LONGEST;
  for (int j = 0; j <= nb; j++) above[j] = j;
  for (int i = 1; i <= na; i++) {
    row[0] = i;
    for (int j = 1; j <= nb; j++) {
      row[j] = Min(Min(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = Min(row[j], before[j - 2] + 1);
    }
    int *oldest = before;
    before = above, above = row, row = oldest;
  }
  return above[nb];
}

void CourantSuggestBegin(CourantSuggestion *suggestion, const char *wanted)
{
  *suggestion = (CourantSuggestion){.wanted = wanted, .distance = LONGEST};
}

/* CourantSuggestOffer - Considers one valid name; a name counts as near up to about a quarter of its letters.
 */
void CourantSuggestOffer(CourantSuggestion *suggestion, const char *name)
{
  const int distance = Distance(suggestion->wanted, name);

  if (distance >= suggestion->distance || distance > 1 + (int)strlen(suggestion->wanted) / 4) return;
  if (strlen(name) >= sizeof suggestion->best) return;
  strcpy(suggestion->best, name);
  suggestion->distance = distance;
}

/* CourantSuggestPrefer - A name that is meant unless another is but a letter away; the first one stays. */
void CourantSuggestPrefer(CourantSuggestion *suggestion, const char *name)
{
  if (suggestion->distance <= 1 || strlen(name) >= sizeof suggestion->best) return;
  strcpy(suggestion->best, name);
  suggestion->distance = 1;
}

/* CourantSuggestPhrase - "; did you mean 'name'?", or "" when nothing is near; written to text and returned.
 */
const char *CourantSuggestPhrase(CourantSuggestion *suggestion, char *text, int size)
{
  text[0] = 0;
  if (suggestion->best[0]) snprintf(text, (size_t)size, "; did you mean '%s'?", suggestion->best);
  return text;
}
