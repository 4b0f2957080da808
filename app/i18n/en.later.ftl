# What is shown only by the part of the page's program that is fetched later, app/src/later.rs. Other languages have all their words
# in one file.

pause-button = Take a break
resume-button = Go on
extend-button = Give more time
stop-button = Stop
agreed = What I agreed to
agreed-copy = Keep a copy
awake = Keep the screen on while this computer is lent
choose-backend = Compute with
backend-auto = The graphics processor if there is one, else the CPU
backend-gpu = The graphics processor (WebGPU)
backend-cpu = The CPU
choose-processor = Share of a processor's time
choose-gpu = Share of the graphics processor's time
choose-memory = Memory at most
choose-data = Data a day at most
choose-minutes = It asks again
choose-days = My yes holds for
days = { $days ->
    [one] 1 day
   *[other] { $days } days
 }
choose-when = Also compute
choose-hidden = while this page is hidden
choose-battery = on battery
choose-metered = over a connection that is paid by the amount
choose-phone = on a phone
why-stopping = Nothing more is computed for others; your own answer is still being written. Stop ends that too.
why-starting = Looking at what this computer can compute with.
why-waiting = Offered. The server is about to say which layers are wanted.
why-fetching = Parts of the model are coming in; each is checked before it is used.
why-serving = { $sessions ->
    [0] Ready. Nobody is asking just now.
    [one] Computing for one question.
   *[other] Computing for { $sessions } questions.
 }
why-paused = { $why ->
    [asked] You are taking a break: nothing is computed until you go on.
    [hidden] Nothing is computed while this page is hidden.
    [battery] Nothing is computed while this computer runs on its battery.
    [save-data] Nothing is computed while your browser saves data.
    [metered] Nothing is computed while your connection is paid by the amount.
    [pressure] Nothing is computed while this computer has enough to do.
    [frames] Nothing is computed while the page cannot be drawn smoothly beside it.
    [time] The time that you gave is over. Nothing is computed until you give more.
    [phone] Nothing is computed: this is a phone, and you have not chosen to lend one.
   *[data] The data that you gave for today is used up. Nothing is computed until tomorrow.
 }
why-retrying = { $reason }. Nothing is lost; the next try is in { $wait }.
lending-link-lost = The connection to the server is lost ({ $reason }). What is being computed goes on; trying again in { $wait }.
fetched = Parts of the model fetched
fetched-of = { $here } of { $all }
fact-name = Your name here
fact-backend = Computes with
fact-layers = Holds
fact-layers-of = { " " }of { $count } layers
fact-layers-of-model = { " " }of { $model }
fact-computed = Computed
fact-computed-since = { " " }tokens since you began
fact-speed = Speed
fact-speed-each = { " " }tokens a second; { $ms } ms each
fact-used = Has used
fact-used-data = , estimated from the time it computed; { $received } received, { $sent } sent
fact-credit = Credit
fact-credit-receipts = { " " }GMAC; { $receipts ->
    [one] 1 receipt
   *[other] { $receipts } receipts
 } since you began
who-label = Who computes the answer
who-swarm = The swarm
who-ends = The swarm, but the first and last layers here
who-all = All of it here
who-swarm-hint = Whoever computes the first layers gets your words, and whoever computes the last ones draws the answer's.
who-ends-hint = Nobody else is given your words or draws the answer's. Words can still be worked out from what others compute on, so this is no place for secrets. Asking downloads up to { $size } of weights, once.
who-all-hint = Nothing of your question or its answer leaves this computer. Asking downloads up to { $size } of weights, once.
contribution-title = What this computer has done
contribution-sum = { $credit } GMAC in { $receipts ->
    [one] 1 receipt
   *[other] { $receipts } receipts
 }, on { $days ->
    [one] 1 day
   *[other] { $days } days
 } of the last { $range }.
contribution-days = Day by day
contribution-key = It is known here as { $name }; its public key is
column-day = Day (UTC)
door-let-in-title = Let somebody in
door-let-in-what = This shows a code to read out to one person. It works once, for ten minutes; you are asked before they are in.
door-open-button = Show a code
door-close-button = Close
door-code = Read this out to one person, and stay here:
door-knocked = { $name } ({ $key }) knows the code and wants to come in. Is that what they see?
door-yes-button = Yes, let them in
door-no-button = No
door-key = Key of somebody for the list; it stays there for 30 days
door-admit-button = Put on the list
door-admitted = Send them this link, which works for that key only
door-typed = Code that a member of the room reads out to you
door-knock-button = Knock
door-knocking = Knocking as { $name } ({ $key }). The member is asked whether that is you.
door-asked = One moment …
door-list-what = In a room with a list the link alone lets nobody in: you let each one in by a code, or put their key on the list. This browser keeps the list.
door-list-button = Make a room with a list
name-title = Your name
name-what = Without one you are called { $name } ({ $short }). Names are not unique: the letters and digits behind them are.
name-label = The name that others see
name-hint = At most { $letters } letters, one line. You can take it back.
name-use = Use this name
name-back = Take it back
name-is = You are called
receipts-title = Your receipts
receipts-what = Each says what this key computed, and is signed by it and by who asked. The file holds both signatures, so that anybody can check them.
receipts-empty = No receipt was credited to this key yet.
receipts-more = Show more
receipts-save = Save all as JSON
column-when = When (UTC)
column-model = Model
column-positions = Positions
column-signed = Signed by
key-title = Your key
key-what = A key is all that you are here: what was credited belongs to it. It is kept in this browser only, and goes when you clear this site's data.
key-backup = Save a backup
key-backup-first = Save a backup first
key-backup-hint = Whoever has the file is you.
key-file = Use the key of a backup
key-found = The file holds the key of { $name } ({ $short }).
key-found-server = It was saved at
key-is-present = This browser has this key already.
key-restore = Use this key
key-restore-costs = It takes the place of the present key. What was credited to that one stays with it, and without a backup you do not get it back.
key-reset = Begin with a new key
key-reset-costs = A new key has no credit, no name and no team. Those of the present one stay with it, and without a backup you do not get them back.
key-reset-yes = Begin anew
key-give-up = Leave it as it is
board-title = Who computed most
board-what = Among those with like hardware, as each computer says it is.
board-class = Hardware
board-period = Time
board-of = Of whom
board-days = Monday { $first } to Sunday { $last }, UTC.
board-empty = Nobody was credited in this time.
column-place = Place
class-phone = Phones
class-browser = Browsers, on the processor
class-graphics = Browsers, on the graphics processor
class-native = Programs, on computers and servers
period-week = This week
period-before = Last week
period-all = Ever
of-people = People
of-teams = Teams
tie-direct = connected to you directly
tie-relayed = connected to you through a relay
widget-lending = You are lending a hand
widget-resting = Your computer rests
widget-lost = { " " }The connection is lost, and is tried again.
widget-stopped-title = Stopped
widget-stopped = Nothing is computed here any more, and your yes is taken back. What you were credited with stays yours.
widget-again = Lend again
widget-failed = Not possible here
widget-try-again = Try again
widget-what = What
widget-what-value = { $layers } of { $model }
widget-for = For
widget-for-value = people who ask at { $host }
widget-done = Done
widget-done-value = { $tokens }; { $credit } GMAC credited to you
widget-energy = Energy
widget-energy-value = { $hours }, estimated
widget-data = Data
widget-data-value = { $received } in, { $sent } out
