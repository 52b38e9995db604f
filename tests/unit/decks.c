/* Every mistake in a deck is one line that names the place, what was expected, and the nearest valid name. */
#include "check.h"
#include "dynamics/problem.h"
#include "stability/map.h"

static const char good[] =
    "model: test\n"
    "data: {source: checkerboard, size: 16, label: 1}\n"
    "network:\n"
    "  - conv: {channels: 1, kernel: 4, bias: false}\n"
    "  - swish: {beta: 1}\n"
    "  - global_mean: {}\n"
    "loss: logistic\n"
    "weights: {init: normal, std: 1, seed: 7}\n"
    "train: {rule: gd, learning_rate: 0.5, weight_decay: 1.25, batch: full, steps: 10}\n"
    "map:\n"
    "  learning_rate: {from: 0.1, to: 1, points: 3, scale: log}\n"
    "  weight_decay: {values: [1, 2]}\n"
    "  cross_check: {steps: 200}\n";

/* All that reads a deck, up to the first computation. */
static PetscErrorCode ReadAll(const char *text, const char *overrides)
{
  CourantDeck deck;
  CourantMap map;

  PetscFunctionBeginUser;
  PetscCall(CourantDeckParse(PETSC_COMM_SELF, text, overrides, &deck));
  PetscCall(CourantMapCreate(PETSC_COMM_SELF, deck, &map));
  PetscCall(CourantMapSetFromOptions(map));
  PetscCall(CourantMapSetUp(map));
  PetscCall(CourantMapDestroy(&map));
  PetscCall(CourantDeckDestroy(&deck));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const char *overrides, *message;
} Case;

/* The message in whole, of an override that goes wrong. */
static const Case cases[] = {
    {"network.0.conv.kernle=3", "-set network.0.conv.kernle=3: unknown key; did you mean 'kernel'?"},
    {"datta.size=3", "-set datta.size=3: unknown key; did you mean 'data'?"},
    {"train.zzzz=3", "-set train.zzzz=3: unknown key; expected rule, batch, learning_rate, weight_decay, "
                     "decoupled, steps, epochs, schedule, precision, "
                     "perturb, seed, sharpness_every, ensemble, checkpoint_every, layer_rates"},
    {"network.2.global_mean.size=3", "-set network.2.global_mean.size=3: unknown key; it takes no keys"},
    {"network.0.conv.channels=two",
     "-set network.0.conv.channels=two: expected an integer from 1 to 1048576, not two"},
    {"network.0.conv.channels=1.5",
     "-set network.0.conv.channels=1.5: expected an integer from 1 to 1048576, not 1.5"},
    {"network.0.conv.channels=0",
     "-set network.0.conv.channels=0: 0 is out of range: expected an integer from 1 to 1048576"},
    {"network.0.conv.channels=99999999999", "-set network.0.conv.channels=99999999999: 99999999999 is out of "
                                            "range: expected an integer from 1 to 1048576"},
    {"network.0.conv.bias=maybe", "-set network.0.conv.bias=maybe: expected true | false, not maybe"},
    {"network.0.conv.padding=vaild", "-set network.0.conv.padding=vaild: expected valid | same | circular or "
                                     "an integer, not vaild; did you mean 'valid'?"},
    {"network.0.conv.padding=same", "deck:4: network.0.conv: padding: same needs an odd kernel, not 4x4"},
    {"network.0.conv.kernel=[3,4,5]",
     "-set network.0.conv.kernel=[3,4,5]: expected an integer or [height, width]"},
    {"network.0.conv.kernel=17",
     "deck:4: network.0.conv: a 17x17 kernel is larger than the 16x16 input with padding 0"},
    {"network.0.conv.kernel=17,network.0.conv.padding=circular",
     "deck:4: network.0.conv: a 17x17 kernel wraps more than once around the 16x16 input"},
    {"network=[conv]", "-set network=[conv]: the key 'channels' is missing (output channels)"},
    {"train.schedule=step",
     "-set train.schedule=step: the key 'at' is missing (times at which the rate changes)"},
    {"network.7.conv.kernel=3",
     "-set network.7.conv.kernel=3: '7' is no index of network, which has 3 entries (0 to 2)"},
    {"network.0=con", "-set network.0=con: unknown layer 'con'; did you mean 'conv'?"},
    {"network.1.swish.beta=nan",
     "-set network.1.swish.beta=nan: expected a number from -1000000 to 1000000, not nan"},
    {"loss=logistics", "-set loss=logistics: unknown loss 'logistics'; did you mean 'logistic'?"},
    {"network=[swish]", "-set network=[swish]: the network has no parameters to train"},
    {"data.source=noize", "-set data.source=noize: unknown source 'noize'; did you mean 'noise'?"},
    {"data.height=4", "deck:2: data: expected either the key 'size' or both 'height' and 'width'"},
    {"data.label=2", "deck:7: loss: the logistic loss needs labels 0 and 1; training sample 0 has 2"},
    {"network.0.conv.channels=2", "deck:7: loss: the logistic loss needs a network with one output"},
    {"weights.init=norma", "-set weights.init=norma: unknown init 'norma'; did you mean 'normal'?"},
    {"weights.init=uniform", "deck:8: weights.std: unknown key; expected init, seed, scale, decay, bound"},
    {"train.rule=dg", "-set train.rule=dg: unknown rule 'dg'; did you mean 'gd'?"},
    {"train.batch=half", "-set train.batch=half: expected full or an integer, not half"},
    {"map.linearise=zerofrozen", "-set map.linearise=zerofrozen: expected equilibrium | init | zero | "
                                 "zero_frozen | file | trained, not zerofrozen; did you mean 'zero_frozen'?"},
    {"map.linearise=file", "deck:11: map: linearise: file needs the key 'file' beside it"},
    {"map.weight_decay.points=3",
     "deck:12: map.weight_decay: expected either values: [..] or from, to and points, not both"},
    {"map.weight_decay.values=[1,-2]",
     "deck:12: map.weight_decay: -2 is out of range: expected numbers of at least 0"},
    {"map.learning_rate.from=0", "deck:11: map.learning_rate: scale: log needs from and to above 0"},
    {"map.learning_rate.scale=logg",
     "-set map.learning_rate.scale=logg: expected linear | log, not logg; did you mean 'log'?"},
    {"map.cross_check.steps=7",
     "-set map.cross_check.steps=7: 7 is out of range: expected an integer from 100 to 100000000"},
    {"map.cross_check.glo=true",
     "-set map.cross_check.glo=true: unknown key; expected local, global, steps, refine"},
    {"model.name=x", "-set model.name=x: model is a single value and has no key 'name'"},
    {"kernel", "-set kernel: expected key=value, such as train.steps=50"},
    {"map.weight_decay.values=[1, x]", "-set map.weight_decay.values=[1, x]: expected a number, not x"},
    {"train.schedule={step: {at: [1, 2], fcator: 0.1}}",
     "-set train.schedule={step: {at: [1, 2], fcator: 0.1}}: unknown key; did you mean 'factor'?"},
    {"train.schedule={step: {at: [1, 2", "-set: {step: {at: [1, 2 is no list or mapping as YAML has it"},
    {"train.schedule=warmup", "-set train.schedule=warmup: expected {warmup: n, then: ..}"},
    {"train.steps=", "-set train.steps=: expected an integer, at least 1"},
    {"train.perturb=1e40",
     "-set train.perturb=1e40: 1e40 is out of range: expected a number from 1e-30 to 1e+30"},
    {"train.ensemble.seeds=[1, 2.5]", "-set train.ensemble.seeds=[1, 2.5]: expected an integer, not 2.5"},
    {"train.ensemble.seeds=[1, 2, 1]", "-set train.ensemble.seeds=[1, 2, 1]: the seed 1 is there twice"},
    {"train.layer_rates={0: 2}",
     "-set train.layer_rates={0: 2}: a map is of one learning rate for all weights so far"},
    {"data.size=65536", "deck:2: data: images of 65536 x 65536 are too large"},
    {"data.size=8000,network.0.conv.channels=100",
     "deck:4: network.0.conv: its output, 7997 x 7997 x 100, is too large"},
    {"network=[flatten, {dense: {features: 100000}}, {dense: {features: 100000}}]",
     "-set network=[flatten, {dense: {features: 100000}}, {dense: {features: 100000}}]: its weight has too "
     "many "
     "parameters, 1e+10"},
};

static void Overrides(void **state)
{
  (void)state;
  OK(ReadAll(good, NULL));
  OK(ReadAll(good, "map.weight_decay.values=[0, 1e-4, "
                   "5e-4],network.0.conv.kernel=[3,5],train.steps=50,weights.decay=kernels"));
  OK(ReadAll(good,
             "network=[{conv: {channels: 2, kernel: [3, 5]}}, flatten, {dense: {features: 1}}],"
             "train.schedule={warmup: 2, then: {step: {at: [3, 4], factor: 0.5}}},map.linearise=trained"));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CourantErrorClear();
    const PetscErrorCode code = ReadAll(good, cases[i].overrides);
    if (code != COURANT_ERR_INPUT)
      fail_msg("%s: error %d, %s", cases[i].overrides, (int)code, CourantErrorMessage());
    assert_string_equal(CourantErrorMessage(), cases[i].message);
  }
  CourantErrorClear();
}

/* Texts that are no decks, with a part of the message. */
static const Case texts[] = {
    {"", "deck:1: a deck is a mapping of keys"},
    {"- a\n- b\n", "deck:1: a deck is a mapping of keys"},
    {"model: {a: 1\nb: 2\n", "deck:2: did not find expected ',' or '}'"},
    {"model: a\nmodel: b\n", "deck:2: model: the key is there twice"},
    {"model: &x a\nabout: *x\n", "aliases (*name) are not allowed"},
    {"model: a\n---\nmodel: b\n", "deck:2: a deck is one YAML document; this is a second"},
    {"model: a\n---\n{", "deck:2: a deck is one YAML document; this is a second"},
    {"{a: b}: c\n", "a key has to be a plain name"},
    {"model: a\n", "the key 'data' is missing (where the samples come from)"},
    {"model: [a]\n", "deck:1: model: expected a text"},
    {"data: {source: noise, size: 4}\nnetwork: 3\nloss: logistic\n", "deck:2: network: expected a list"},
    {"data: {source: noise, size: 4}\nnetwork: []\nloss: logistic\n",
     "deck:2: network: the network has no layers"},
    {"data: {source: noise, size: 4}\nnetwork: [{conv: {channels: 1}}]\nloss: logistic\n",
     "network.0.conv: the key 'kernel' is missing (size, or [height, width])"},
    {"data: {source: noise, size: 4}\nnetwork: [{conv: 3}]\nloss: logistic\n",
     "network.0.conv: expected a mapping, key: value"},
    {"data: {source: noise, size: 4}\nnetwork: [{conv: {}, swish: {}}]\nloss: logistic\n",
     "network.0: expected a layer as a mapping with one key"},
    {"data: {size: 4}\nnetwork: [{conv: {}}]\nloss: logistic\n", "deck:1: data: the key 'source' is missing"},
};

static void Texts(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    CourantErrorClear();
    const PetscErrorCode code = ReadAll(texts[i].overrides, NULL);
    if (code != COURANT_ERR_INPUT || !strstr(CourantErrorMessage(), texts[i].message))
      fail_msg("case %zu: error %d, '%s', expected '%s'", i, (int)code, CourantErrorMessage(),
               texts[i].message);
  }
  CourantErrorClear();
}

/* A hundred levels are taken, whatever they hold; of more, however many, a line is said. */
static void Depth(void **state)
{
  static const struct {
    int levels;
    const char *message;
  } depths[] = {{100, "deck:1: a: unknown key"},
                {101, "deck:1: lists and mappings are nested more than 100 deep"},
                {1000000, "deck:1: lists and mappings are nested more than 100 deep"}};

  (void)state;
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
    const size_t lists = (size_t)depths[i].levels - 1; /* below the deck's mapping */
    char *text;
    OK(PetscCalloc1(2 * lists + 4, &text));
    memcpy(text, "a: ", 3);
    memset(text + 3, '[', lists);
    memset(text + 3 + lists, ']', lists);
    CourantErrorClear();
    assert_int_equal(ReadAll(text, NULL), COURANT_ERR_INPUT);
    if (!strstr(CourantErrorMessage(), depths[i].message))
      fail_msg("%d levels: '%s'", depths[i].levels, CourantErrorMessage());
    OK(PetscFree(text));
  }
  CourantErrorClear();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Overrides),
    cmocka_unit_test(Texts),
    cmocka_unit_test(Depth),
};

TEST_MAIN(tests)
