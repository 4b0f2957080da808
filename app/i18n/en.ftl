# The page's words in English; every other file has the same messages. In the part of Fluent that app/src/words/fluent.rs reads:
# a message is one line, but for a choice by a number or a word.

## The page and its head

page-title = Potluck: an AI model run by people's computers
skip = Skip to the content
lead = People lend their computers by opening this page; together they run an AI model that none of them could run alone.
keeper = { $host } introduces the computers to each other and keeps count of what each has done. It sees no question and no answer.
warning = Other volunteers can read what they compute on. Don't share secrets here.
language = Language
language-missing = The words of that language could not be fetched: { $reason }. Nothing else is lost; choose it again to try once more.

link-none = Not connected
link-connecting = Connecting
link-open = Connected
link-lost = Connection lost ({ $reason }); trying again in { $wait }
link-refused = Refused: { $reason }

## What happens now

now-title = Now
now-model = Model
now-model-unknown = The server has not said which.
now-answers = Being computed
now-answers-value = { $sessions ->
    [0] No answer just now
    [one] 1 answer
   *[other] { $sessions } answers
 }
now-waiting = { $waiting ->
    [one] 1 question waits for computers
   *[other] { $waiting } questions wait for computers
 }
now-computers = By
now-computers-value = { $nodes ->
    [0] No computer yet
    [one] 1 computer
   *[other] { $nodes } computers
 }
now-computers-kinds = { $browsers } in browsers, { $natives } native
now-unknown = Looking.

## Lending: before

lend-title = Lend this computer
lending-title = This computer is lent
offer = This tab fetches { $what } and computes them for others until you press Stop or close it. It uses this computer's processor and electricity. Nothing is installed, and nothing starts before you press.
offer-some = some layers of the model
offer-of = some of the { $layers } layers of { $model }
offer-of-bytes = some of the { $layers } layers of { $model } ({ $bytes } in all)
insecure = This page came without HTTPS, so the browser gives it no graphics processor and keeps no copies of what it fetched. It computes on the CPU; opened by an https:// address it could use both.
failed-because = : { $reason }
offer-share = At most { $processor } % of a processor's time or { $gpu } % of the graphics processor's, { $memory } of memory and { $data } of data a day. It asks again: { $minutes }. All of this can be changed below.
lend-button = Lend a hand
choices = What may be used
minutes = { $minutes ->
    [one] after 1 minute
   *[other] after { $minutes } minutes
 }
minutes-none = never

## Lending: while it goes on

phase-failed = Failed
phase-idle = Not lending
phase-stopping = Stopping
phase-starting = Starting
phase-waiting = Waiting
phase-fetching = Fetching
phase-serving = Serving
phase-retrying = Trying again
phase-paused = Paused

## Asking

ask-title = Ask a question
ask-label = Your question
ask-button = Ask
cancel-button = Cancel
ask-hint = Enter asks, Shift+Enter starts a new line. Each question stands alone.
sampling = How the answer is drawn
temperature = Temperature
temperature-hint = 0 always takes the likeliest word; from { $least } to { $most }, higher is more varied. Empty: the model's own.
seed = Seed
seed-hint = The same question with the same seed gets the same answer. Empty: drawn by chance.
seed-wrong = The seed must be a whole number below { $limit }. Nothing was asked.
temperature-wrong = The temperature must be 0, or from 0.05 to 5 with at most three decimals. Nothing was asked.

who = Who computes

## The answer

question-heading = Question
answer-heading = Answer
go-on-button = Go on with it
tokens = { $tokens ->
    [one] 1 token
   *[other] { $tokens } tokens
 }
answer-looking = Looking for computers that hold every layer.
answer-lost-link = The connection is lost. The question waits until it is back.
answer-connecting = Connecting.
answer-fetching = This computer gets ready for its part: { $loaded } of { $size } of weights.
answer-waiting = ▲ Waiting: nobody lends { $layers } of { $model } yet. The answer starts by itself as soon as somebody does.
answer-kept = ▲ The page was reloaded in the middle of this answer. Its { $tokens } are kept in this tab; nothing runs until you say so.
answer-resuming = ▲ { $reason }. Nothing is lost: others go on from here.
answer-computing = Being computed: { $tokens } so far.
answer-done = { $end ->
    [length] Cut off at the limit of tokens
    [cancelled] Cancelled
   *[stop] Done
 }: { $tokens }; the first after { $ms } ms.
answer-done-rate = { $end ->
    [length] Cut off at the limit of tokens
    [cancelled] Cancelled
   *[stop] Done
 }: { $tokens }; the first after { $ms } ms, then { $rate } tokens a second.
answer-caution = Computed by an AI model; it can be wrong.
answer-all-here = Nothing of it left this computer.
answer-by = Who computed it, in order
answer-seed = Seed
answer-again = , temperature { $temperature }. Whoever asks this model the same with them gets the same answer, on any computers.
earlier = Earlier questions in this tab ({ $count })
earlier-seed = Seed { $seed }.
ended-with-tab = The answer was ended with everything else in this tab.
ended-refused = The server refused this tab: { $reason }.
ended-worker = The part of this page that computes stopped. Ask again to start it anew.
ended-old = This page is old. Reload it, then ask again.

## Everybody who lends

swarm-title = Who computes
you = { " " }(you)
layers = { $count ->
    [one] layer { $first }
   *[other] layers { $first } to { $last }
 }
list = { $before } and { $last }
list-comma = ,{ " " }
kind-browser = browser
kind-native = native
state-serving = serving
state-fetching = fetching
state-waiting = waiting
state-paused = paused
about-model = { $model }: { $layers ->
    [one] 1 layer
   *[other] { $layers } layers
 }
about-licence = licence { $licence }
out-of-date = This may be out of date: { $reason }. Trying again every few seconds.
swarm-region = Who lends, and what
column-who = Who
column-layers = Layers
column-tokens = Tokens
column-ms = ms each
no-layers = none
nobody-yet = Nobody lends yet. Be the first.
looking = Looking who is there.

copies-region = How often each layer is there
column-copies = Computers that serve each
copies-nobody = ▲ nobody
sums-computers = Computers
sums-kinds = : { $browsers } in browsers, { $natives } native
sums-of-them = Of them
sums-states = { $serving } serve, { $fetching } fetch, { $waiting } wait
sums-memory = Memory
sums-offered = { " " }offered
sums-computed = Computed
sums-rate = { " " }tokens through their layers; { $rate } a second lately
names-region = Some who lend
names-failed = No names: { $reason }.
names-first = Show some names
names-more = Show more names

## The drawing of the swarm

map-summary = { $nodes ->
    [0] Nobody lends yet.
    [one] One computer lends.
   *[other] { $nodes } computers lend.
 } { $missing ->
    [none] Every layer is held.
   *[other] Nobody holds { $missing }.
 } The table below says who holds what.
map-browser = ○ browser
map-native = □ native
map-working = { " " }computed just now
map-counts = how many computers hold each layer
map-layers = Layers
map-answer = Answer
map-you = you
map-missing = nobody yet
map-room = pull up a chair

## Rooms

room-title = A room of your own
room-what = A room is a swarm for those who have its link: they compute for each other and for nobody else, and no stranger sees what is asked.
room-model = Model that the room computes
room-make-button = Make a room
room-make-hint = It opens in this tab, in place of the public swarm. What runs here ends.
room-in-title = You are in a room: { $name }
room-members = Connected to it now: { $connected }.
room-in-list = Besides this link, members need a pass, which only whoever made the room gives. They can read what they compute on.
room-in-what = Only those who have this link are in it. They can read what they compute on, so give it only to people you trust.
room-link = Link to the room
room-copy-button = Copy
room-qr = The link as a picture for a phone's camera
room-leave-button = Leave the room
door-come-in-title = I have a code, or want a room with a list
door-mistyped-code = That is not a code. It is four digits and four letters or digits, like 4821-KQ7M.
door-mistyped-key = That is not a key, which is 64 digits and letters from a to f.
door-let-in = They are in.
door-sent-away = The answer was no: nobody was let in.
door-wrong-code = The code was not the right one, so nobody was let in. For another try, a new code is needed.
door-taken = This code was tried before. Ask for a new one.
door-no-door = Nobody waits with this code now. Ask for a new one.
door-expired = Nobody came in ten minutes. Make a new code.
door-left = The other one is gone, and nobody was let in. Make a new code.
door-too-many = Too many codes come from your connection, or to this server. Try again later.
door-not-keeper = Only whoever made this room can let others in.
room-unreadable = The invitation in this page's address is not whole, so this is the public swarm. Nothing has been started. Ask for the link again, and open all of it.

## What is the visitor's own

mine-title = You among the others
mine-what = Choose a name, join a team, see your receipts and your place, and keep your key. Opening this starts the part of the page that has your key; nothing is lent by it.
mine-open = Open
mine-close = Close
mine-no-node = Looking at which key this browser has.
mine-said = Done: the others see it now.
mine-refused = the server refused this: { $reason }
mine-busy = Nothing was changed: an answer is being written. Cancel it or wait for it, then try again.
mine-no-file = This is no backup of a Potluck key, or it cannot be read. Nothing was changed. Choose the file that was saved as one.
mine-backed-up = The browser saves your key as { $name }. Whoever has that file is you: keep it where only you can read it.
mine-changed = This browser has the key of { $name } ({ $short }) now. Lending has stopped; lend again to go on under this key.

team-title = Your team
team-what = A team counts together what its members compute while they are in it. Whoever has its link can join.
team-label = Name of a new team
team-make = Make the team
team-members = { $members ->
    [one] : you alone; { $credit } GMAC
   *[other] : { $members } members; { $credit } GMAC
 }
team-link = The link that lets others join
team-leave = Leave the team
team-leave-hint = What you computed for it stays with it.
team-invited = You are invited to the team
team-invited-members = { $members ->
    [one] { " " }(1 member).
   *[other] { " " }({ $members } members).
 }
team-join = Join

## What everybody has done

tally-title = Who has computed how much
tally-what = Credit counts multiply-accumulates computed for others, in GMAC (1 GMAC is 1,000,000,000). It comes from receipts that both the one who computed and the one who asked have signed.
tally-not-audited = It is not audited yet: two who agree can sign for work that nobody did.
tally-out-of-date = This may be out of date: { $reason }. Nothing credited is lost.
tally-region = Who was credited with what
column-credit = Credit, GMAC
column-receipts = Receipts
tally-empty = Nobody was credited yet.

## Something went wrong

other-tab = Another tab of this browser is already lending. One is enough: this one has started nothing.
problem-refused = The server refused this tab: { $reason }. Nothing is lent or asked any more; credit already given is safe. Reload the page, then try again.
problem-worker = The part of this page that computes stopped: { $reason }. Nothing is lent any more; credit already given is safe, an unfinished answer is lost. Start again with the button you pressed.
problem-old = This page is old: the server has a newer one, and what this one would start is gone. Nothing was started, and credit already given is safe. Reload the page, then try again.
newer-page = The server has a newer page than this one. What runs here goes on; reload when it suits you.
close-button = Close
reload-button = Reload
server-silent = the server does not answer
server-status = the server answered { $status }
server-broke-off = the server's answer broke off
server-unreadable = the server's answer could not be read: { $reason }

part-coming = One moment: the rest of this page is on its way.
part-missing = The rest of this page could not be fetched.
part-again-button = Try again
