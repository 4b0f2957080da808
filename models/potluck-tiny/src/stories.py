"""Requests for tales and the tales that answer them. Run `python stories.py 5` to print five."""
import random, re, sys, zlib

from plots import (END, FIND, FOODS, FRIEND, MEET, MEET_AGAIN, MEET_DOOR, MEET_DOOR_AGAIN, MOODS, MORALS, OPEN_FIND, OPEN_OWN, OTHER_MOODS, OWN, STUCK, STUCK_AGAIN, TOOLS)
from words import ANIMALS, F, HEROES, M, NAMED_PLACES, PEOPLE, PLACES, SEX, THEMES, THINGS, TRAITS, held_word, made_up, split

# What a tale takes where nothing was asked for: few words, so that the tale is surely well formed.
PLAIN_HEROES = [w for w in "fox owl bear rabbit mouse hedgehog squirrel badger turtle cat dog robot dragon girl boy baker".split() if not held_word(w)]
PLAIN_FRIENDS = [w for w in "owl badger turtle frog mouse crow cat rabbit goat duck hedgehog baker".split() if not held_word(w)]
PLAIN_THINGS = [w for w in "lantern kite drum boat bell basket key map feather stone hat blanket ball box whistle lamp".split() if not held_word(w)]
PLAIN_PLACES = [p for p in [("in", "forest"), ("in", "meadow"), ("in", "village"), ("by", "river"), ("by", "sea"), ("on", "hill"), ("in", "valley"), ("on", "farm")] if not held_word(p[1])]
PLAIN_NAMES = "Mia Rosa Ruby Luna Ivy Hazel Daisy Poppy Clara Maya Finn Oliver Max Leo Sam Ben Tom Jack Otto Theo Milo Felix".split()


def art(w): return ("an " if w[0] in "aeiou" and not w.startswith(("uni", "one", "use", "eu")) else "a ") + w
def cap(s): return s[0].upper() + s[1:]


def fill(r, s, d):
    """Expand [a|b] choices (innermost first), drop optional sentences, then fill the slots."""
    while m := re.search(r"\[([^\[\]]*)\]", s): s = s[:m.start()] + r.choice(m.group(1).split("|")) + s[m.end():]
    if s.startswith("?"): s = s[1:] if r.random() < .5 else ""
    for _ in range(3): s = re.sub(r"\{(\w+)\}", lambda m: str(d[m.group(1)]), s)
    return re.sub(r" +", " ", s).strip()


def tale(r, hero=None, name=None, friend=None, friend_name=None, thing=None, place=None, mood=None, theme=None, moral=None):
    """One tale that names all that is given; what is None is chosen from the plain words. Place is (preposition, place) or ("in", Name)."""
    asked_friend = friend or friend_name
    if hero is None and name: hero = r.choice(["girl", "girl", "cat", "fox"] if SEX.get(name) == "f" else ["boy", "boy", "dog", "bear"])
    hero = hero or r.choice([h for h in PLAIN_HEROES if h != friend])
    sex = SEX.get(name) or SEX.get(hero.split()[-1]) or (SEX.get(" ".join(hero.split()[-2:]))) or r.choice("mf")
    name = name or r.choice([n for n in PLAIN_NAMES if SEX[n] == sex and n != friend_name])
    friend = friend or r.choice([f for f in PLAIN_FRIENDS if f != hero and f not in hero])
    thing = thing or r.choice(PLAIN_THINGS); place = place or r.choice(PLAIN_PLACES)
    at = f"{place[0]} {place[1]}" if place[1][0].isupper() else f"{place[0]} the {place[1]}"
    he, him, his = ("she", "her", "her") if sex == "f" else ("he", "him", "his")
    f1, f2 = r.sample(FOODS, 2)
    g = friend_name or "the " + friend; ag = friend_name or art(friend)
    d = dict(N=name, k=hero, ak=art(hero), he=he, him=him, his=his, He=cap(he), His=cap(his), o=thing, ao=art(thing), p=at, g=g, ag=ag, G=cap(g), AG=cap(ag),
             food=f1, food2=f2, tool=r.choice(TOOLS))
    again = bool(asked_friend)
    d |= dict(friend=r.choice(FRIEND) if again else "", meet=r.choice(MEET_AGAIN if again else MEET), meet_door=r.choice(MEET_DOOR_AGAIN if again else MEET_DOOR), stuck=r.choice(STUCK_AGAIN if again else STUCK))
    found = r.random() < .33
    plots = FIND if found else OWN
    key = r.choice(list(plots))
    body = list(plots[key])
    if key in ("gift", "noise") and again: body = [s.replace("{ag}", "{g}") for s in body]
    out = [fill(r, r.choice(OPEN_FIND if found else OPEN_OWN), d)]
    if mood in MOODS: body.insert(0 if not found else len(body), r.choice(MOODS[mood][0 if not found else 1]))
    elif mood: out.insert(0, f"Here is {art(mood)} story.")
    if theme: out.insert(0, f"Here is a story about {theme}.")
    out += [fill(r, s, d) for s in body]
    if mood in MOODS and not found: out.append(fill(r, r.choice(MOODS[mood][1]), d))
    if theme: out.append(f"And so {name} learned something about {theme}.")
    elif moral or (moral is None and r.random() < .2): out.append(r.choice(MORALS))
    elif mood not in MOODS: out.append(fill(r, r.choice(END), d))
    return " ".join(x for x in out if x)


ASK = ["Tell me a {m}story about {x}.", "Tell me a {m}story with {x}.", "Write a {m}story about {x}.", "Write a short {m}story about {x}.", "Can you tell me a {m}story about {x}?",
       "Could you write a {m}tale about {x}?", "Please tell me a {m}tale about {x}.", "I would like a {m}story about {x}, please.", "Make up a {m}story about {x}.", "A {m}story about {x}.",
       "{m}story about {x}", "I want a {m}story with {x}.", "Give me a {m}story about {x}.", "Do you know a {m}story about {x}?", "Tell a {m}tale of {x}.", "Please write a {m}story that has {x} in it.",
       "Tell my child a {m}story about {x}.", "Hi! Tell me a {m}story about {x}.", "Tell me about {x}.", "Write me a little {m}story with {x}.", "Tell us a {m}story about {x}.",
       "Can I have a {m}story about {x}?", "Could you tell me a {m}story with {x}, please?", "Once more, a {m}story about {x}.", "How about a {m}story about {x}?", "What about {x}?", "Now one about {x}.",
       "Create a {m}story about {x}.", "Invent a {m}story with {x}.", "Hello, please tell me a {m}story about {x}.", "I need a {m}story about {x} for my kids.", "Write something about {x}.",
       "Generate a {m}story about {x}.", "My daughter wants a {m}story about {x}.", "Let us hear a {m}tale about {x}.", "Tell me a {m}story. It should have {x} in it.", "write {m}story {x}"]
ASK0 = ["Tell me a {m}story.", "Tell me a {m}story, please.", "Can you tell me a {m}story?", "I want to hear a {m}story.", "Write a short {m}story.", "Make up a {m}tale.", "A {m}story please",
        "Do you know any {m}stories?", "Surprise me with a {m}story.", "Please tell me any {m}story you like.", "tell me a {m}story", "I am bored. Tell me a {m}story.", "Give me a {m}story.", "{m}story"]
NAME_ASK = ["Tell me a {m}story about a child named {x}.", "My name is {x}. Tell me a {m}story.", "Tell me a {m}story about {x}.", "Write a {m}story for {x}.", "A {m}story about {x}, please.", "Tell a {m}story to {x}.",
            "My child is called {x}. Tell a {m}story.", "Can you tell a {m}story about {x}?", "I am {x}. Tell me a {m}story about me."]
BEGIN = ["Once upon a time, there was {ak}", "Once upon a time, there was {ak} named {N}", "Once there was {ak} who had {ao}", "Once upon a time, {ak} found {ao}", "Once upon a time, {ak} lived {p}", "There once was {ak} who lived {p}"]


class Words:
    """Deals ingredients. `kind`: train (no held-out word), held (only held-out words), any made-up rate on top."""

    def __init__(self, kind, made=.12):
        side = 0 if kind == "train" else 1
        pick = lambda pool: split(pool)[side]
        self.heroes, self.things, self.places, self.names = pick(HEROES), pick(THINGS), pick(PLACES), pick(F + M)
        self.towns, self.themes, self.traits, self.made = pick(NAMED_PLACES), pick(THEMES), split(TRAITS)[0], made

    def hero(self, r):
        if r.random() < self.made: return made_up(r)
        return r.choice(self.things if r.random() < .1 else self.heroes)
    def thing(self, r): return made_up(r) if r.random() < self.made else r.choice(self.things)
    def name(self, r): return cap(made_up(r)) if r.random() < self.made * .7 else r.choice(self.names)
    def place(self, r):
        if r.random() < .14: return "in", (cap(made_up(r)) if r.random() < self.made * 2 else r.choice(self.towns))
        p = r.choice(self.places)
        return (p[0], made_up(r)) if r.random() < self.made * .5 else p
    def trait(self, r): return r.choice(self.traits)


TRAIN, HELD, MADE = Words("train"), Words("held", 0), Words("train", 1)


def request(r, words=TRAIN):
    """(prompt, reply, requested words); a combination of two or more words in twenty is kept for testing."""
    while True:
        x = _request(r, words)
        if words is not TRAIN or len(x[2]) < 2 or zlib.crc32(" ".join(x[2]).encode()) % 20: return x


def unseen_combination(r):
    while True:
        x = _request(r, TRAIN)
        if len(x[2]) > 1 and zlib.crc32(" ".join(x[2]).encode()) % 20 == 0: return x


def _request(r, w):
    draw = r.random()
    if draw < .05 and w is not MADE:                    # a theme
        theme = r.choice(w.themes); prompt = r.choice(ASK).format(m="", x=theme)
        return noisy(r, prompt, False), tale(r, theme=theme), [theme]
    if draw < .12:                                      # a person's name, alone or with a companion
        n = w.name(r); others = {}; x = n; want = [n]
        if r.random() < .5:
            if r.random() < .4: others["friend_name"] = b = next(b for b in iter(lambda: w.name(r), None) if b != n); x += f" and {b}"; want.append(b)
            else:
                b = w.hero(r) if r.random() < .5 else w.thing(r); others["friend" if b in HEROES else "thing"] = b; x += f" and {art(b)}"; want.append(b)
            ask = r.choice(ASK)
        else: ask = r.choice(NAME_ASK)
        return noisy(r, ask.format(m="", x=x), True), tale(r, name=n, **others), want
    if draw < .20:                                      # a beginning to continue
        k, o, p, s = w.hero(r), w.thing(r), w.place(r), r.choice(BEGIN); n = w.name(r)
        given = dict(hero=k, thing=o if "{ao}" in s else None, place=p if "{p}" in s else None, name=n if "{N}" in s else None)
        want = [v if isinstance(v, str) else v[1] for v in given.values() if v]
        at = f"{p[0]} {p[1]}" if p[1][0].isupper() else f"{p[0]} the {p[1]}"
        return r.choice(["", "", "Continue: ", "Please go on: ", "Finish this story: "]) + s.format(ak=art(k), ao=art(o), N=n, p=at) + r.choice(["", "...", ".", " …", ","]), tale(r, **given), want
    n = r.choices([0, 1, 2, 3, 4], [.07, .23, .4, .25, .05])[0]
    mood = None
    if r.random() < (.5 if n == 0 else .15): mood = r.choice(list(MOODS) if r.random() < .7 else OTHER_MOODS)
    what = r.choice({0: [""], 1: ["k", "k", "k", "o", "p", "o"], 2: ["ko", "ko", "ko", "kg", "kp", "op"], 3: ["kop", "kgo", "kgp", "kop"], 4: ["kgop"]}[n])
    given, items, want = {}, [], []
    if "k" in what:
        k = w.hero(r)
        if r.random() < .2: k = w.trait(r) + " " + k
        given["hero"] = k; want += k.split() if k not in HEROES + THINGS else [k]; item = art(k)
        if r.random() < .12: given["name"] = w.name(r); want.append(given["name"]); item += f" {r.choice(['named', 'called'])} {given['name']}"
        items.append(item)
    if "g" in what:
        g = next(g for g in iter(lambda: w.hero(r), None) if g != given["hero"] and g not in given["hero"].split()); given["friend"] = g; want.append(g); items.append(art(g))
    if "o" in what:
        o = next(o for o in iter(lambda: w.thing(r), None) if o not in want)
        if r.random() < .12: o = w.trait(r) + " " + o
        given["thing"] = o; want += o.split() if o not in THINGS else [o]; items.append(art(o) if r.random() < .85 else "the " + o)
    if "o" in what and len(items) > 1 and r.random() < .12: items.insert(0, items.pop())
    loc = ""
    if "p" in what:
        p = w.place(r); given["place"] = p; want.append(p[1]); town = p[1][0].isupper()
        if items and (r.random() < .7 or town): loc = f" {p[0]} {p[1]}" if town else f" {p[0]} {r.choice(['the', 'the', art(p[1]).split()[0]])} {p[1]}"
        else: items.append(p[1] if town else r.choice([art(p[1]), "the " + p[1]]))
    if r.random() < .12: items = [re.sub(r"^(a|an|the) ", "", x) for x in items]
    elif n == 1 and what == "k" and "name" not in given and r.random() < .15 and not items[0].endswith(("s", "man", "child")): items = [re.sub(r"^(a|an) ", "", items[0]) + "s"]
    x = items[0] if len(items) == 1 else ", ".join(items[:-1]) + ("," if len(items) > 2 and r.random() < .3 else "") + " and " + items[-1] if items else ""
    ask = r.choice(ASK if x or loc else ASK0)
    if "{m}" not in ask: mood = None
    prompt = ask.format(m=mood + " " if mood else "", x=x + loc)
    if mood: want.append(mood)
    moral = None
    if r.random() < .05: prompt += r.choice([" End with a moral.", " Add a moral."]); moral = True
    return noisy(r, prompt, "name" in given or any(v[1][0].isupper() for v in given.values() if isinstance(v, tuple))), tale(r, mood=mood, moral=moral, **given), want


def noisy(r, prompt, named):
    """How people type: the right article, sometimes no capitals, sometimes no stop."""
    prompt = re.sub(r"\b([Aa]) ([aeio])", r"\1n \2", prompt)
    if r.random() < .15 and not named: prompt = prompt.lower()
    if r.random() < .15: prompt = prompt.rstrip(".?!")
    return cap(prompt) if prompt[0].islower() and r.random() < .3 else prompt


def named(word, text): return word.lower() in text.lower()


if __name__ == "__main__":
    r = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        q, a, want = request(r); print("Q:", q, "\nA:", a, "\n  ", want, len(a.split()), [w for w in want if not named(w, a)], "\n")
    lost = [(q, a, want) for q, a, want in (request(r, w) for w in (TRAIN, HELD, MADE) for _ in range(3000)) if not all(named(w, a) for w in want)]
    print(len(lost), lost[:3])
