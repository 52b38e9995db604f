#include "deck/deck.h"
#include "core/interrupt.h"
#include "core/suggest.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

enum { OVERRIDES = 64, DEPTH = 100, SIZE = 10000000 };

struct _CourantDeck {
  MPI_Comm comm;
  char name[PETSC_MAX_PATH_LEN]; /* as errors name it */
  char folder[PETSC_MAX_PATH_LEN];
  char *text, *given; /* the file, and the overrides */
  yaml_document_t document;
  PetscBool parsed;
  int overrides; /* that -set put in */
  struct {
    int first, last; /* node numbers */
    char text[512];
  } override[OVERRIDES];
};

static yaml_node_t *Get(CourantNode node)
{
  return node.id ? yaml_document_get_node(&node.deck->document, node.id) : NULL;
}

static const char *Scalar(yaml_node_t *node)
{
  return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

/* An absent value, `swish:` with nothing behind it. */
static PetscBool IsNull(yaml_node_t *node)
{
  const char *text = Scalar(node);
  return text && !text[0] && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? PETSC_TRUE : PETSC_FALSE;
}

const char *CourantDeckText(CourantDeck deck)
{
  return deck->text;
}

/* CourantDeckOverrides - What -set gave, "" without it. */
const char *CourantDeckOverrides(CourantDeck deck)
{
  return deck->given ? deck->given : "";
}

/* CourantDeckName - The file's name as it was given. */
const char *CourantDeckName(CourantDeck deck)
{
  return deck->name;
}

MPI_Comm CourantDeckComm(CourantDeck deck)
{
  return deck->comm;
}

CourantNode CourantDeckRoot(CourantDeck deck)
{
  return (CourantNode){.deck = deck, .id = 1, .near = 1};
}

static CourantNode Below(CourantNode parent, const char *key, int id)
{
  CourantNode child = {.deck = parent.deck, .id = id, .near = id ? id : parent.near};
  const int n =
      snprintf(child.path, sizeof child.path, "%s%s%s", parent.path, parent.path[0] ? "." : "", key);
  if (n >= (int)sizeof child.path) strcpy(child.path + sizeof child.path - 4, "...");
  return child;
}

/* The override that a node came from; NULL: it is the file's. */
static const char *OverrideOf(CourantDeck deck, int id)
{
  for (int i = 0; i < deck->overrides; i++)
    if (id >= deck->override[i].first && id <= deck->override[i].last) return deck->override[i].text;
  return NULL;
}

/* CourantNodeWhere - "file:line: path" of a place, or "-set path=value" for what an override put there;
 * written to text and returned. */
const char *CourantNodeWhere(CourantNode node, char text[], size_t size)
{
  const CourantDeck deck = node.deck;
  const yaml_node_t *yaml = node.near ? yaml_document_get_node(&deck->document, node.near) : NULL;

  const char *override = OverrideOf(deck, node.near);
  if (override) {
    snprintf(text, size, "-set %s", override);
    return text;
  }
  snprintf(text, size, "%s:%zu%s%s", deck->name, yaml ? yaml->start_mark.line + 1 : 1,
           node.path[0] ? ": " : "", node.path);
  return text;
}

PetscErrorCode CourantNodeFail(CourantNode node, int line, const char function[], const char file[],
                               const char format[], ...)
{
  char where[1024], what[1536];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return PetscError(node.deck->comm, line, function, file, COURANT_ERR_INPUT, PETSC_ERROR_INITIAL, "%s: %s",
                    CourantNodeWhere(node, where, sizeof where), what);
}

/* Line and path of a key, which is where a wrong key is reported. */
static CourantNode KeyNode(CourantNode mapping, const yaml_node_pair_t *pair)
{
  yaml_node_t *key = yaml_document_get_node(&mapping.deck->document, pair->key);
  CourantNode node = Below(mapping, Scalar(key) ? Scalar(key) : "?", pair->key);
  if (OverrideOf(mapping.deck, pair->value)) node.id = node.near = pair->value;
  return node;
}

static yaml_node_pair_t *FindPair(CourantNode mapping, const char *key)
{
  yaml_node_t *yaml = Get(mapping);

  if (!yaml || yaml->type != YAML_MAPPING_NODE) return NULL;
  for (yaml_node_pair_t *p = yaml->data.mapping.pairs.start; p < yaml->data.mapping.pairs.top; p++) {
    const char *name = Scalar(yaml_document_get_node(&mapping.deck->document, p->key));
    if (name && !strcmp(name, key)) return p;
  }
  return NULL;
}

/* CourantNodeChild - The value of a key of a mapping; its id is 0 where there is none. */
CourantNode CourantNodeChild(CourantNode mapping, const char key[])
{
  const yaml_node_pair_t *pair = FindPair(mapping, key);
  return Below(mapping, key, pair ? pair->value : 0);
}

PetscBool CourantNodeIsMapping(CourantNode node)
{
  const yaml_node_t *yaml = Get(node);
  return yaml && yaml->type == YAML_MAPPING_NODE ? PETSC_TRUE : PETSC_FALSE;
}

PetscBool CourantNodeIsList(CourantNode node)
{
  const yaml_node_t *yaml = Get(node);
  return yaml && yaml->type == YAML_SEQUENCE_NODE ? PETSC_TRUE : PETSC_FALSE;
}

/* CourantNodeText - The scalar that stands at a place, borrowed; NULL: none does. */
const char *CourantNodeText(CourantNode node)
{
  return Scalar(Get(node));
}

PetscErrorCode CourantNodeCount(CourantNode list, PetscInt *n)
{
  const yaml_node_t *yaml = Get(list);

  PetscFunctionBeginUser;
  if (!yaml || yaml->type != YAML_SEQUENCE_NODE) CourantNodeError(list, "expected a list");
  *n = (PetscInt)(yaml->data.sequence.items.top - yaml->data.sequence.items.start);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantNodeItem - Item i, from 0, of a list that CourantNodeCount() accepted. */
CourantNode CourantNodeItem(CourantNode list, PetscInt i)
{
  char index[16];
  snprintf(index, sizeof index, "%d", (int)i);
  return Below(list, index, Get(list)->data.sequence.items.start[i]);
}

/*
  Repeated keys, keys that are no names, and aliases are
  errors: each place has one value, written where it is used.
*/
static PetscErrorCode CheckTree(CourantNode node, PetscBool seen[])
{
  PetscFunctionBeginUser;
  if (seen[node.id]) CourantNodeError(node, "aliases (*name) are not allowed in decks");
  seen[node.id] = PETSC_TRUE;
  const yaml_node_t *yaml = Get(node);
  if (yaml->type == YAML_SEQUENCE_NODE) {
    PetscInt n = 0;
    PetscCall(CourantNodeCount(node, &n));
    for (PetscInt i = 0; i < n; i++) PetscCall(CheckTree(CourantNodeItem(node, i), seen));
  } else if (yaml->type == YAML_MAPPING_NODE) {
    for (yaml_node_pair_t *p = yaml->data.mapping.pairs.start; p < yaml->data.mapping.pairs.top; p++) {
      const CourantNode key = KeyNode(node, p);
      const char *name = Scalar(yaml_document_get_node(&node.deck->document, p->key));
      if (!name) CourantNodeError(key, "a key has to be a plain name");
      if (FindPair(node, name) != p) CourantNodeError(key, "the key is there twice");
      PetscCall(CheckTree(Below(node, name, p->value), seen));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int CountNodes(CourantDeck deck)
{
  return (int)(deck->document.nodes.top - deck->document.nodes.start);
}

static PetscErrorCode AddScalar(CourantDeck deck, const char *text, size_t length, int *id)
{
  PetscFunctionBeginUser;
  *id = yaml_document_add_scalar(&deck->document, NULL, (const yaml_char_t *)text, (int)length,
                                 YAML_PLAIN_SCALAR_STYLE);
  PetscCheck(*id, PETSC_COMM_SELF, PETSC_ERR_MEM, "libyaml: out of memory");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Copies a node of another document with all that is below it. */
static PetscErrorCode CopyNode(CourantDeck deck, yaml_document_t *from, int id, int depth, int *copy)
{
  const yaml_node_t *node = yaml_document_get_node(from, id);
  yaml_document_t *document = &deck->document;
  int key, value;

  PetscFunctionBeginUser;
  if (depth > 32) CourantInputError(deck->comm, "-set: a value is nested too deeply");
  if (node->type == YAML_SCALAR_NODE) {
    *copy = yaml_document_add_scalar(document, NULL, node->data.scalar.value, (int)node->data.scalar.length,
                                     node->data.scalar.style);
  } else if (node->type == YAML_SEQUENCE_NODE) {
    *copy = yaml_document_add_sequence(document, NULL, YAML_FLOW_SEQUENCE_STYLE);
    for (yaml_node_item_t *i = node->data.sequence.items.start; *copy && i < node->data.sequence.items.top;
         i++) {
      PetscCall(CopyNode(deck, from, *i, depth + 1, &value));
      yaml_document_append_sequence_item(document, *copy, value);
    }
  } else {
    *copy = yaml_document_add_mapping(document, NULL, YAML_FLOW_MAPPING_STYLE);
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; *copy && p < node->data.mapping.pairs.top;
         p++) {
      PetscCall(CopyNode(deck, from, p->key, depth + 1, &key));
      PetscCall(CopyNode(deck, from, p->value, depth + 1, &value));
      yaml_document_append_mapping_pair(document, *copy, key, value);
    }
  }
  PetscCheck(*copy, PETSC_COMM_SELF, PETSC_ERR_MEM, "libyaml: out of memory");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The value of an override as a new node: YAML where it begins as a list or a mapping, else the text itself.
 */
static PetscErrorCode AddValue(CourantDeck deck, const char *text, int *id)
{
  yaml_parser_t parser;
  yaml_document_t value;
  PetscErrorCode code = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  if (text[0] != '[' && text[0] != '{') {
    PetscCall(AddScalar(deck, text, strlen(text), id));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(yaml_parser_initialize(&parser), PETSC_COMM_SELF, PETSC_ERR_MEM, "libyaml: out of memory");
  yaml_parser_set_input_string(&parser, (const yaml_char_t *)text, strlen(text));
  const PetscBool parsed = yaml_parser_load(&parser, &value) ? PETSC_TRUE : PETSC_FALSE;
  yaml_parser_delete(&parser);
  if (!parsed) CourantInputError(deck->comm, "-set: %s is no list or mapping as YAML has it", text);
  code = CopyNode(deck, &value, 1, 0, id);
  yaml_document_delete(&value);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Remembers that the nodes since `before` came from an override,
  so that errors in them name the override and no line of the file.
*/
static PetscErrorCode RecordOverride(CourantDeck deck, int before, const char *text)
{
  PetscFunctionBeginUser;
  if (deck->overrides == OVERRIDES) CourantInputError(deck->comm, "-set: more than %d values", OVERRIDES);
  deck->override[deck->overrides].first = before + 1;
  deck->override[deck->overrides].last = CountNodes(deck);
  snprintf(deck->override[deck->overrides].text, sizeof deck->override[0].text, "%s", text);
  deck->overrides++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The place of a key or index in its parent, as libyaml keeps it; a missing key is put in with an empty
 * value. */
static PetscErrorCode FindSlot(CourantNode parent, const char *key, const char *text, int **slot)
{
  const CourantDeck deck = parent.deck;
  const yaml_node_t *yaml = Get(parent);
  yaml_node_pair_t *pair;
  int name, empty;

  PetscFunctionBeginUser;
  if (yaml->type == YAML_SEQUENCE_NODE) {
    char *end;
    PetscInt n = 0;
    const long index = strtol(key, &end, 10);
    PetscCall(CourantNodeCount(parent, &n));
    if (*end || end == key || index < 0 || index >= n)
      CourantInputError(deck->comm, "-set %s: '%s' is no index of %s, which has %d entries (0 to %d)", text,
                        key, parent.path, (int)n, (int)n - 1);
    *slot = &yaml->data.sequence.items.start[index];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (yaml->type != YAML_MAPPING_NODE)
    CourantInputError(deck->comm, "-set %s: %s is a single value and has no key '%s'", text, parent.path,
                      key);
  pair = FindPair(parent, key);
  if (!pair) {
    PetscCall(AddScalar(deck, key, strlen(key), &name));
    PetscCall(AddScalar(deck, "", 0, &empty));
    PetscCheck(yaml_document_append_mapping_pair(&deck->document, parent.id, name, empty), PETSC_COMM_SELF,
               PETSC_ERR_MEM, "libyaml: out of memory");
    pair = FindPair(parent, key);
  }
  *slot = &pair->value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sets one override, "network.0.conv.kernel=16"; mappings on the way that the deck left out are made. */
static PetscErrorCode Override(CourantDeck deck, const char *text)
{
  char path[256];
  const char *equals = strchr(text, '=');
  CourantNode node = CourantDeckRoot(deck);
  const int before = CountNodes(deck);
  int value = 0, *slot = NULL;

  PetscFunctionBeginUser;
  if (!equals || equals == text || (size_t)(equals - text) >= sizeof path)
    CourantInputError(deck->comm, "-set %s: expected key=value, such as train.steps=50", text);
  memcpy(path, text, (size_t)(equals - text));
  path[equals - text] = 0;
  PetscCall(AddValue(deck, equals + 1, &value));
  for (char *key = path, *next; key; key = next) {
    next = strchr(key, '.');
    if (next) *next++ = 0;
    PetscCall(FindSlot(node, key, text, &slot));
    if (!next) *slot = value;
    node = Below(node, key, *slot);
    if (next && IsNull(Get(node)))
      node.id = *slot = yaml_document_add_mapping(&deck->document, NULL, YAML_BLOCK_MAPPING_STYLE);
    PetscCheck(node.id, PETSC_COMM_SELF, PETSC_ERR_MEM, "libyaml: out of memory");
  }
  PetscCall(RecordOverride(deck, before, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "a=1,b=[2,3],c={d: 4, e: 5}": commas inside brackets and braces belong to the value. */
static PetscErrorCode OverrideAll(CourantDeck deck, const char *overrides)
{
  char one[512];
  size_t n = 0;
  int depth = 0;

  PetscFunctionBeginUser;
  for (const char *c = overrides;; c++) {
    depth += (*c == '[' || *c == '{') - (*c == ']' || *c == '}');
    if (*c && (*c != ',' || depth > 0)) {
      if (n + 1 == sizeof one) CourantInputError(deck->comm, "-set: a value is too long");
      one[n++] = *c;
      continue;
    }
    one[n] = 0;
    if (n) PetscCall(Override(deck, one));
    n = 0;
    if (!*c) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode YamlError(CourantDeck deck, yaml_parser_t *parser)
{
  char problem[256];
  const size_t line = parser->problem_mark.line + 1;

  PetscFunctionBeginUser;
  snprintf(problem, sizeof problem, "%s%s%s", parser->problem ? parser->problem : "not YAML",
           parser->context ? ", " : "", parser->context ? parser->context : "");
  CourantInputError(deck->comm, "%s:%zu: %s", deck->name, line, problem);
}

/* Calls Use with a parser at the start of the text. */
static PetscErrorCode WithParser(CourantDeck deck, PetscErrorCode (*Use)(CourantDeck, yaml_parser_t *))
{
  yaml_parser_t parser;

  PetscFunctionBeginUser;
  PetscCheck(yaml_parser_initialize(&parser), PETSC_COMM_SELF, PETSC_ERR_MEM, "libyaml: out of memory");
  yaml_parser_set_input_string(&parser, (const yaml_char_t *)deck->text, strlen(deck->text));
  const PetscErrorCode code = Use(deck, &parser);
  yaml_parser_delete(&parser);
  PetscFunctionReturn(code);
}

/* How an event changes the depth of lists and mappings. */
static int Deepens(yaml_event_type_t type)
{
  return (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT) -
         (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT);
}

/* The whole text, before any of it is kept: one document, and not so deep that a walk down it would be. */
static PetscErrorCode CheckEvents(CourantDeck deck, yaml_parser_t *parser)
{
  yaml_event_t event;
  yaml_event_type_t type;
  int depth = 0, documents = 0;

  PetscFunctionBeginUser;
  do {
    if (!yaml_parser_parse(parser, &event)) PetscCall(YamlError(deck, parser));
    type = event.type;
    const size_t line = event.start_mark.line + 1;
    yaml_event_delete(&event);
    depth += Deepens(type);
    documents += type == YAML_DOCUMENT_START_EVENT;
    if (depth > DEPTH)
      CourantInputError(deck->comm, "%s:%zu: lists and mappings are nested more than %d deep", deck->name,
                        line, DEPTH);
    if (documents > 1)
      CourantInputError(deck->comm, "%s:%zu: a deck is one YAML document; this is a second", deck->name,
                        line);
  } while (type != YAML_STREAM_END_EVENT);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LoadDocument(CourantDeck deck, yaml_parser_t *parser)
{
  PetscFunctionBeginUser;
  if (!yaml_parser_load(parser, &deck->document)) PetscCall(YamlError(deck, parser));
  deck->parsed = PETSC_TRUE;
  const yaml_node_t *root = yaml_document_get_root_node(&deck->document);
  if (!root || root->type != YAML_MAPPING_NODE)
    CourantInputError(deck->comm, "%s:1: a deck is a mapping of keys such as data, network, loss",
                      deck->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Takes over text. folder: that paths are relative to, "" or with a slash at its end. */
static PetscErrorCode Create(MPI_Comm comm, const char *name, const char *folder, char *text,
                             const char *overrides, CourantDeck *deck)
{
  PetscBool *seen;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(deck));
  (*deck)->comm = comm;
  (*deck)->text = text;
  PetscCall(PetscStrncpy((*deck)->name, name, sizeof(*deck)->name));
  PetscCall(PetscStrncpy((*deck)->folder, folder, sizeof(*deck)->folder));
  PetscCall(WithParser(*deck, CheckEvents));
  PetscCall(WithParser(*deck, LoadDocument));
  if (overrides) PetscCall(PetscStrallocpy(overrides, &(*deck)->given));
  if (overrides) PetscCall(OverrideAll(*deck, overrides));
  PetscCall(PetscCalloc1(CountNodes(*deck) + 1, &seen));
  PetscCall(CheckTree(CourantDeckRoot(*deck), seen));
  PetscCall(PetscFree(seen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A text on one rank, and the folder that it is in: the working one, "", for pipes and standard input. */
typedef struct {
  char *text;
  size_t size;
  char folder[PETSC_MAX_PATH_LEN];
} Source;

/* To the end of a file or a pipe; a signal ends the wait for the pipe's writer. */
static PetscErrorCode ReadDescriptor(const char *name, int fd, Source *source)
{
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  ssize_t got = -1;

  PetscFunctionBeginUser;
  while (got && source->size <= SIZE) {
    const int events = poll(&ready, 1, 200);
    CourantInterruptCheck();
    if (events <= 0) continue;
    got = read(fd, source->text + source->size, SIZE + 1 - source->size);
    if (got < 0 && errno != EINTR && errno != EAGAIN)
      CourantInputError(PETSC_COMM_SELF, "%s: %s", name, strerror(errno));
    if (got > 0) source->size += (size_t)got;
  }
  if (source->size > SIZE || memchr(source->text, 0, source->size))
    CourantInputError(PETSC_COMM_SELF, "%s: not a deck (a YAML text file of at most %d MB)", name,
                      SIZE / 1000000);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSource(const char *name, Source *source)
{
  struct stat status;

  PetscFunctionBeginUser;
  const int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* else a pipe without a writer stops here */
  if (fd < 0 || fstat(fd, &status)) CourantInputError(PETSC_COMM_SELF, "%s: %s", name, strerror(errno));
  const PetscBool named = S_ISREG(status.st_mode) && strncmp(name, "/dev/", 5) ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscStrncpy(source->folder, named ? name : "", sizeof source->folder));
  char *slash = strrchr(source->folder, '/');
  *(slash ? slash + 1 : source->folder) = 0;
  PetscCall(PetscMalloc1(SIZE + 2, &source->text));
  const PetscErrorCode code = ReadDescriptor(name, fd, source);
  close(fd);
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantDeckLoad - Reads a deck, a file or a pipe, and puts overrides over its values. Collective: the first
  rank of comm reads it for all.

  overrides is NULL or "key=value,..", as for -set.
*/
PetscErrorCode CourantDeckLoad(MPI_Comm comm, const char file[], const char overrides[], CourantDeck *deck)
{
  Source source = {NULL};
  PetscMPIInt rank;
  char *text;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  CourantCallOnRankZero(comm, rank, ReadSource(file, &source));
  PetscCallMPI(MPI_Bcast(&source.size, sizeof source.size, MPI_BYTE, 0, comm));
  PetscCallMPI(MPI_Bcast(source.folder, sizeof source.folder, MPI_BYTE, 0, comm));
  PetscCall(PetscCalloc1(source.size + 1, &text));
  if (rank == 0) memcpy(text, source.text, source.size);
  PetscCallMPI(MPI_Bcast(text, (PetscMPIInt)source.size, MPI_BYTE, 0, comm));
  PetscCall(PetscFree(source.text));
  PetscCall(Create(comm, file, source.folder, text, overrides, deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantDeckParse - The same for a deck given as text. */
PetscErrorCode CourantDeckParse(MPI_Comm comm, const char text[], const char overrides[], CourantDeck *deck)
{
  char *copy;

  PetscFunctionBeginUser;
  PetscCall(PetscStrallocpy(text, &copy));
  PetscCall(Create(comm, "deck", "", copy, overrides, deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CourantDeckDestroy(CourantDeck *deck)
{
  PetscFunctionBeginUser;
  if (!*deck) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*deck)->parsed) yaml_document_delete(&(*deck)->document);
  PetscCall(PetscFree((*deck)->text));
  PetscCall(PetscFree((*deck)->given));
  PetscCall(PetscFree(*deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadNumber(CourantNode node, const CourantKey *key, const char *text, PetscBool integer,
                                 double *value)
{
  char *end = NULL, expected[128];
  const PetscBool any = key->min == 0 && key->max == 0 ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  if (any)
    snprintf(expected, sizeof expected, "%s", integer ? "an integer" : "a number");
  else if (isinf(key->max))
    snprintf(expected, sizeof expected, "%s, at least %g", integer ? "an integer" : "a number", key->min);
  else
    snprintf(expected, sizeof expected, "%s from %.16g to %.16g", integer ? "an integer" : "a number",
             key->min, key->max);
  if (text) *value = strtod(text, &end);
  if (!text || end == text || *end || !isfinite(*value) || (integer && *value != rint(*value)) ||
      (integer && fabs(*value) > 9e15))
    CourantNodeError(node, "expected %s%s%s", expected, text && text[0] ? ", not " : "", text ? text : "");
  if (!any && !(*value >= key->min && *value <= key->max))
    CourantNodeError(node, "%s is out of range: expected %s", text, expected);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInteger(CourantNode node, const CourantKey *key, const char *text, PetscInt *value)
{
  double number = 0;

  PetscFunctionBeginUser;
  PetscCall(ReadNumber(node, key, text, PETSC_TRUE, &number));
  if (fabs(number) > PETSC_MAX_INT) CourantNodeError(node, "%s is too large", text);
  *value = (PetscInt)number;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The index of text in "a|b|c", -1 where it is not among them. */
static int Choose(const char *choices, const char *text)
{
  int index = 0;

  for (const char *c = choices; *c; index++) {
    const size_t length = strcspn(c, "|");
    if (text && strlen(text) == length && !strncmp(c, text, length)) return index;
    c += length + (c[length] == '|');
  }
  return -1;
}

static PetscErrorCode ChoiceError(CourantNode node, const char *choices, const char *text, const char *also)
{
  CourantSuggestion suggestion;
  char names[256], list[320] = "", phrase[160];

  PetscFunctionBeginUser;
  CourantSuggestBegin(&suggestion, text ? text : "");
  snprintf(names, sizeof names, "%s", choices);
  for (char *save, *name = strtok_r(names, "|", &save); name; name = strtok_r(NULL, "|", &save)) {
    CourantSuggestOffer(&suggestion, name);
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? " | " : "", name);
  }
  CourantNodeError(node, "expected %s%s%s%s%s", list, also, text && text[0] ? ", not " : "", text ? text : "",
                   CourantSuggestPhrase(&suggestion, phrase, sizeof phrase));
}

/* ---- one value into its member: a reader for each type of key ---- */

/* text is the scalar's, NULL where a list or a mapping stands, or the preset when the key is absent. */
typedef PetscErrorCode (*Reader)(CourantNode, const CourantKey *, const char *text, void *member);

static PetscErrorCode ReadInt(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  return ReadInteger(node, key, text, (PetscInt *)member);
}

static PetscErrorCode ReadSeed(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  double value = 0;

  PetscFunctionBeginUser;
  PetscCall(ReadNumber(node, key, text, PETSC_TRUE, &value));
  *(uint64_t *)member = (uint64_t)value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReal(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  return ReadNumber(node, key, text, PETSC_FALSE, (double *)member);
}

static PetscErrorCode ReadBool(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  const int index = Choose("false|true", text);

  PetscFunctionBeginUser;
  (void)key;
  if (index < 0) PetscCall(ChoiceError(node, "true|false", text, ""));
  *(PetscBool *)member = index ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadText(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  PetscFunctionBeginUser;
  (void)key;
  if (!text) CourantNodeError(node, "expected a text");
  if (snprintf((char *)member, COURANT_TEXT_SIZE, "%s", text) >= COURANT_TEXT_SIZE)
    CourantNodeError(node, "the text is longer than %d bytes", COURANT_TEXT_SIZE - 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadPath(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  PetscFunctionBeginUser;
  (void)key;
  if (!text || !text[0]) CourantNodeError(node, "expected the name of a file");
  const char *folder = text[0] == '/' ? "" : node.deck->folder;
  if (snprintf((char *)member, PETSC_MAX_PATH_LEN, "%s%s", folder, text) >= PETSC_MAX_PATH_LEN)
    CourantNodeError(node, "the path is too long");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* `[a, b]`, or `a` for a list of one. */
static PetscErrorCode ReadPaths(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  CourantPaths *paths = (CourantPaths *)member;
  const yaml_node_t *yaml = Get(node);
  const PetscBool list = yaml && yaml->type == YAML_SEQUENCE_NODE ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  paths->n = 1;
  if (list) PetscCall(CourantNodeCount(node, &paths->n));
  if (paths->n == 0 || !(list || text))
    CourantNodeError(node, "expected the name of a file or a list of them");
  PetscCall(PetscCalloc1(paths->n, &paths->names));
  for (PetscInt i = 0; i < paths->n; i++) {
    const CourantNode item = list ? CourantNodeItem(node, i) : node;
    PetscCall(ReadPath(item, key, list ? Scalar(Get(item)) : text, paths->names[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadChoice(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  PetscFunctionBeginUser;
  *(int *)member = Choose(key->choices, text);
  if (*(int *)member < 0) PetscCall(ChoiceError(node, key->choices, text, ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadIntOrChoice(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  const int index = Choose(key->choices, text);
  PetscInt number = 0;
  char *end = NULL;

  PetscFunctionBeginUser;
  *(int *)member = -1 - index;
  if (index >= 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (!text || (strtol(text, &end, 10), *end) || end == text)
    PetscCall(ChoiceError(node, key->choices, text, " or an integer"));
  PetscCall(ReadInteger(node, key, text, &number));
  *(int *)member = (int)number;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSize2(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  PetscInt *size = (PetscInt *)member, n = 0;

  PetscFunctionBeginUser;
  if (text) {
    PetscCall(ReadInteger(node, key, text, &size[0]));
    size[1] = size[0];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CourantNodeCount(node, &n));
  if (n != 2) CourantNodeError(node, "expected an integer or [height, width]");
  for (int i = 0; i < 2; i++)
    PetscCall(ReadInteger(CourantNodeItem(node, i), key, Scalar(Get(CourantNodeItem(node, i))), &size[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReals(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  CourantReals *reals = (CourantReals *)member;

  PetscFunctionBeginUser;
  (void)text;
  PetscCall(CourantNodeCount(node, &reals->n));
  PetscCall(PetscMalloc1(reals->n, &reals->values));
  for (PetscInt i = 0; i < reals->n; i++) {
    const CourantNode item = CourantNodeItem(node, i);
    PetscCall(ReadNumber(item, key, Scalar(Get(item)), PETSC_FALSE, &reals->values[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadNode(CourantNode node, const CourantKey *key, const char *text, void *member)
{
  (void)key, (void)text;
  *(CourantNode *)member = node;
  return PETSC_SUCCESS;
}

static const Reader readers[] = {
    [COURANT_KEY_INT] = ReadInt,
    [COURANT_KEY_SEED] = ReadSeed,
    [COURANT_KEY_REAL] = ReadReal,
    [COURANT_KEY_BOOL] = ReadBool,
    [COURANT_KEY_TEXT] = ReadText,
    [COURANT_KEY_PATH] = ReadPath,
    [COURANT_KEY_PATHS] = ReadPaths,
    [COURANT_KEY_CHOICE] = ReadChoice,
    [COURANT_KEY_INT_OR_CHOICE] = ReadIntOrChoice,
    [COURANT_KEY_SIZE2] = ReadSize2,
    [COURANT_KEY_REALS] = ReadReals,
    [COURANT_KEY_NODE] = ReadNode,
};

/* CourantNodeMappingSize - Number of keys of a mapping that has names of its own, such as layer_rates. */
PetscErrorCode CourantNodeMappingSize(CourantNode mapping, PetscInt *n)
{
  yaml_node_t *yaml = Get(mapping);

  PetscFunctionBeginUser;
  if (!yaml || yaml->type != YAML_MAPPING_NODE) CourantNodeError(mapping, "expected a mapping, key: value");
  *n = (PetscInt)(yaml->data.mapping.pairs.top - yaml->data.mapping.pairs.start);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantNodeMappingItem - The i-th key, [COURANT_TEXT_SIZE], and its value. */
PetscErrorCode CourantNodeMappingItem(CourantNode mapping, PetscInt i, char name[], CourantNode *value)
{
  const yaml_node_pair_t *pair = &Get(mapping)->data.mapping.pairs.start[i];
  const char *text = Scalar(yaml_document_get_node(&mapping.deck->document, pair->key));

  PetscFunctionBeginUser;
  if (!text || strlen(text) >= COURANT_TEXT_SIZE) CourantNodeError(mapping, "expected a short text as key");
  PetscCall(PetscStrncpy(name, text, COURANT_TEXT_SIZE));
  *value = Below(mapping, text, pair->value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CourantNodeReal - The number that stands at a place, from min to max. */
PetscErrorCode CourantNodeReal(CourantNode node, double min, double max, double *value)
{
  const CourantKey key = {.name = "", .type = COURANT_KEY_REAL, .min = min, .max = max};

  PetscFunctionBeginUser;
  PetscCall(ReadNumber(node, &key, Scalar(Get(node)), PETSC_FALSE, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode UnknownKey(CourantNode key, const char *name, int ntables, const CourantTable tables[])
{
  CourantSuggestion suggestion;
  char phrase[160], list[700] = "";

  PetscFunctionBeginUser;
  CourantSuggestBegin(&suggestion, name);
  for (int t = 0; t < ntables; t++)
    for (const CourantKey *k = tables[t].keys; k->name; k++) {
      CourantSuggestOffer(&suggestion, k->name);
      snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", k->name);
    }
  CourantNodeError(key, "unknown key%s%s%s",
                   suggestion.best[0] ? ""
                   : list[0]          ? "; expected "
                                      : "; it takes no keys",
                   suggestion.best[0] ? "" : list, CourantSuggestPhrase(&suggestion, phrase, sizeof phrase));
}

/*
  CourantNodeRead - Fills structs from a mapping by their tables; an absent or empty mapping gives the
  defaults.

  Unknown keys, wrong types and values out of range are errors. Members of absent keys without a preset stay
  as they are.
*/
PetscErrorCode CourantNodeRead(CourantNode mapping, int ntables, const CourantTable tables[])
{
  yaml_node_t *yaml = Get(mapping);

  PetscFunctionBeginUser;
  if (yaml && IsNull(yaml)) yaml = NULL;
  if (yaml && yaml->type != YAML_MAPPING_NODE) CourantNodeError(mapping, "expected a mapping, key: value");
  for (yaml_node_pair_t *p = yaml ? yaml->data.mapping.pairs.start : NULL;
       p && p < yaml->data.mapping.pairs.top; p++) {
    const char *name = Scalar(yaml_document_get_node(&mapping.deck->document, p->key));
    PetscBool known = PETSC_FALSE;
    for (int t = 0; t < ntables; t++)
      for (const CourantKey *k = tables[t].keys; k->name; k++)
        if (!strcmp(k->name, name)) known = PETSC_TRUE;
    if (!known) PetscCall(UnknownKey(KeyNode(mapping, p), name, ntables, tables));
  }
  for (int t = 0; t < ntables; t++)
    for (const CourantKey *k = tables[t].keys; k->name; k++) {
      const CourantNode child = yaml ? CourantNodeChild(mapping, k->name) : Below(mapping, k->name, 0);
      const char *text = child.id ? Scalar(Get(child)) : k->preset;
      if (!child.id && !k->preset)
        CourantNodeError(mapping, "the key '%s' is missing (%s)", k->name, k->help);
      if (!child.id && !k->preset[0] && k->type != COURANT_KEY_NODE) continue;
      PetscCall(readers[k->type](child, k, text, (char *)tables[t].target + k->offset));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindName(CourantNode node, const char kind[], const char *name, int n,
                               const char *const names[], int *entry)
{
  CourantSuggestion suggestion;
  char phrase[160], list[512] = "";

  PetscFunctionBeginUser;
  CourantSuggestBegin(&suggestion, name);
  for (*entry = 0; *entry < n; ++*entry) {
    if (!strcmp(names[*entry], name)) PetscFunctionReturn(PETSC_SUCCESS);
    CourantSuggestOffer(&suggestion, names[*entry]);
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", names[*entry]);
  }
  CourantSuggestPhrase(&suggestion, phrase, sizeof phrase);
  if (phrase[0]) CourantNodeError(node, "unknown %s '%s'%s", kind, name, phrase);
  CourantNodeError(node, "unknown %s '%s'; expected one of %s", kind, name, list);
}

/*
  CourantNodeEntry - Reads `{conv: {..}}` or the plain name `flatten`: which of n names it is, and where its
  options stand.
*/
PetscErrorCode CourantNodeEntry(CourantNode node, const char kind[], int n, const char *const names[],
                                int *entry, CourantNode *options)
{
  yaml_node_t *yaml = Get(node);

  PetscFunctionBeginUser;
  if (Scalar(yaml) && !IsNull(yaml)) {
    PetscCall(FindName(node, kind, Scalar(yaml), n, names, entry));
    *options = Below(node, Scalar(yaml), 0);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!yaml || yaml->type != YAML_MAPPING_NODE ||
      yaml->data.mapping.pairs.top - yaml->data.mapping.pairs.start != 1)
    CourantNodeError(node, "expected a %s as a mapping with one key, such as - %s: {}", kind, names[0]);
  yaml_node_pair_t *pair = yaml->data.mapping.pairs.start;
  const char *name = Scalar(yaml_document_get_node(&node.deck->document, pair->key));
  PetscCall(FindName(KeyNode(node, pair), kind, name, n, names, entry));
  *options = Below(node, name, pair->value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  CourantNodeSelect - Reads the scalar of `key`, such as `source:
  noise`, which is one of n names; preset NULL: required.
*/
PetscErrorCode CourantNodeSelect(CourantNode mapping, const char key[], const char preset[], int n,
                                 const char *const names[], int *entry)
{
  const CourantNode child = CourantNodeChild(mapping, key);
  const char *name = child.id ? Scalar(Get(child)) : preset;

  PetscFunctionBeginUser;
  if (!child.id && !preset) CourantNodeError(mapping, "the key '%s' is missing", key);
  if (!name) CourantNodeError(child, "expected a name");
  PetscCall(FindName(child.id ? child : mapping, key, name, n, names, entry));
  PetscFunctionReturn(PETSC_SUCCESS);
}
