"""More ways to ask what qa.py answers: phrasings written by hand (the last of each list is held out) and rules that turn one phrasing into others."""
import re

from qa import CHAT, QA

MORE = {
 "what_is": ["What's Potluck?", "what is this project", "What am I looking at?", "Give me a short summary of Potluck.", "I am new here. What is this?", "So what is Potluck exactly?", "What is Potluck good for?", "What are you and what is Potluck?", "Explain this site to me.", "I have never heard of Potluck. What is it?"],
 "who_computes": ["Who does the computing?", "Whose computers do you use?", "Where do your answers come from?", "On whose machine do you run?", "Which machines run you?", "Is there a server that runs you?", "Where does the computing happen?", "Whose computer is doing this?"],
 "private": ["Is this chat private?", "Who reads my messages?", "Can somebody spy on me?", "Do you keep my data secret?", "Is what I write secret?", "Can strangers read this?", "How private is this?", "Does anyone see my questions?", "May I tell you a secret?"],
 "stop": ["How can I stop it?", "How do I get out?", "Can I leave?", "How do I end this?", "How do I stop computing?", "Turn it off.", "I want to leave.", "How do I stop lending my computer?"],
 "gpu": ["Do you need a graphics card?", "Does it run on my GPU?", "Do I need a GPU?", "Is the GPU used?", "What does it do with my graphics card?", "Does my GPU do the work?"],
 "receipt": ["What's a receipt?", "What does a receipt say?", "Who signs the receipts?", "What do receipts do?", "I do not understand receipts.", "What is written in a receipt?"],
 "layer": ["What's a layer?", "What does it mean that a tab runs a layer?", "Layers? What are they?", "What happens in a layer?", "I do not understand layers."],
 "webgpu": ["What's WebGPU?", "Why does it need WebGPU?", "Do I need WebGPU?", "Why WebGPU?", "What do you use WebGPU for?"],
 "webrtc": ["What's WebRTC?", "How do computers talk to each other here?", "Why WebRTC?", "How does data go from tab to tab?", "What do you use WebRTC for?"],
 "small": ["Why are you not very clever?", "You do not know much. Why?", "Why are you such a tiny model?", "You are very small!", "Why can't you do more?", "Why do you not know that?", "How come you are so small?"],
 "can_do": ["What do you do?", "What can you help me with?", "Tell me what you can do.", "help me", "What do you offer?", "What are you able to do?", "How do I use you?", "What can I ask?", "Give me some ideas what to ask.", "What are you for?"],
 "made": ["Who is behind this?", "Who developed you?", "Who programmed you?", "Who is your creator?", "Whose idea were you?", "Which company made you?", "By whom were you made?"],
 "who_are_you": ["Who is this?", "Who am I talking to?", "What's your name?", "And who are you?", "Tell me who you are.", "Are you ChatGPT?", "Are you an AI?", "Which AI are you?", "May I know your name?"],
 "battery": ["Does it eat my battery?", "How much electricity does it use?", "Will it empty my battery?", "Is it bad for the battery?", "Does it need much power?", "What does it do to my battery?"],
 "money": ["Can I earn something?", "What do I get for helping?", "Is there money in it?", "Do volunteers get paid?", "Do you pay volunteers?", "Can I get rich with this?", "Is it about bitcoin?", "Will I be paid for my work?"],
 "credits": ["What's a credit?", "What do credits mean?", "What can I do with credits?", "Where do credits come from?", "I do not understand credits.", "What good are credits?"],
 "embed": ["How can I add this to my website?", "How does it get onto my own page?", "Can I use it on my blog?", "How do I put a swarm on my page?", "I run a website. Can I use Potluck?", "How do I set it up on my site?", "What must I do to have this on my site?"],
 "open_source": ["Where can I find the code?", "Can I read the source?", "Is it free software?", "What licence does Potluck have?", "Who owns the code?", "May I copy the code?"],
 "join": ["How can I volunteer?", "How do I lend my computer?", "What must I do to help?", "I would like to join.", "How can I lend a hand?", "Can I help?", "I want to take part.", "How do I get started as a helper?"],
 "install": ["Must I install something?", "Does it need an installation?", "Is there anything to download?", "How do I install it?", "Do I have to download an app?"],
 "phone": ["Does it run on phones?", "Will my phone work?", "Does it work on an iPhone?", "Does it work on Android?", "Can I join with my phone?"],
 "token": ["What's a token?", "What do you call a token?", "I do not understand tokens.", "Is a token a word?", "What are these tokens?"],
 "model": ["What's a language model?", "What is artificial intelligence?", "How does a model work?", "How do you make sentences?", "How do you write your answers?", "How does an AI write text?"],
 "swarm": ["What's a swarm?", "What do you mean by swarm?", "How big is the swarm?", "What does a swarm do?", "I do not understand the swarm.", "What is meant by a swarm of browsers?"],
 "tab_close": ["What if I close the tab?", "What happens when I leave?", "What if a volunteer goes away?", "What happens when a computer is switched off?", "Does the answer stop when somebody leaves?"],
 "free": ["What do I have to pay?", "Is there a price?", "Does Potluck cost money?", "Do I need to pay?", "Can I use it for free?", "Is it really free?"],
 "bigger": ["Is there a larger model?", "Can I have a smarter model?", "How can I use another model?", "Can I choose a different model?", "Which other models are there?", "Can it run a big model?"],
 "host": ["What's a host?", "Who runs this page?", "Who is the owner of this page?", "Who hosts this?", "Who owns this site?"],
 "volunteer": ["What's a volunteer?", "Who helps you?", "Who are the people that help?", "What does a volunteer do?", "What is a helper?"],
 "slow": ["You are slow.", "Why does it take long?", "Why is this not faster?", "Can you answer faster?", "What takes so long?"],
 "bandwidth": ["Does it need a lot of internet?", "How much traffic does it make?", "How many megabytes does it use?", "How much is downloaded?", "Is it heavy on my data?"],
 "safe": ["Is this dangerous?", "Is it secure?", "Could it damage my computer?", "Is there a risk for my computer?", "Can I use it without danger?"],
 "files": ["Do you see what is on my computer?", "Do you have access to my files?", "Can you see my pictures?", "Can you open my files?", "Are my files visible to you?"],
 "trained_on": ["What texts were you trained on?", "What did you learn from?", "How did you learn?", "Who taught you?", "Where did you learn that?", "From what text did you learn to speak?"],
 "train_on_me": ["Do you learn from what I write?", "Are you learning from me?", "Will you learn from this chat?", "Do my messages train you?", "Is my text used to train you?"],
 "remember": ["Do you know me?", "Do you remember our last chat?", "Can you remember things?", "Do you keep our chats?", "Do you still know what I told you last week?"],
 "mistakes": ["Are you sometimes wrong?", "Can I believe you?", "Is that true?", "Are you sure?", "Do you always tell the truth?", "Can I rely on what you say?"],
 "alive": ["Are you a human being?", "Do you have a heart?", "Are you conscious?", "Do you have a soul?", "Can you feel something?", "Are you a machine?", "Is there a person behind you?"],
 "checked": ["Who checks the results?", "How do I know that the answer is honest?", "Can somebody cheat?", "Is the work verified?", "Can volunteers send false results?"],
 "private_swarm": ["Can we have our own swarm?", "How do I make a swarm for my family?", "Can I run it on my own computers only?", "Is a private swarm possible?", "How do I start a swarm just for my team?"],
 "name": ["What is the meaning of the name Potluck?", "Who came up with the name Potluck?", "Why Potluck?", "Why is your name Potluck?"],
 "languages": ["Do you understand Spanish?", "Which languages do you know?", "Do you speak Italian?", "Habla espanol?", "Sprichst du Deutsch?", "Can you speak Chinese?", "Can I write to you in Japanese?"],
 "weights": ["How many parameters are in you?", "What's your size?", "How many numbers are in you?", "How big is your model?", "How large are you?"],
 "how_many": ["How many volunteers are needed?", "Is one computer enough?", "How many people must join?", "Does one tab suffice?", "How many helpers does it take?"],
 "browsers": ["Does it run in Edge?", "Can I use Firefox?", "Which browser is best?", "Does my browser work?", "Will it run in my browser?"],
 "context": ["How long may my question be?", "How many words can you read?", "Is there a limit to my message?", "Can I paste a long text?", "What is the longest text you can take?"],
 "slow_pc": ["Does it make my computer slow?", "My computer is slow now. Why?", "My fan is loud.", "Is my laptop getting hot because of you?", "Does it heat up my computer?"],
 "offline": ["Can it run without internet?", "Does it need the internet?", "Do I have to be online?", "Can I go offline?"],
 "why": ["Why was this made?", "What is the idea behind Potluck?", "What is the purpose of Potluck?", "What is it good for to share computers?", "Why do people do this?"],
 "limits": ["What can you not do?", "What don't you know?", "Tell me your limits.", "Where are you weak?", "What should I not ask you?"],
 "kids": ["Is it safe for children?", "Can I show it to my child?", "Is it suitable for children?", "May my daughter talk to you?"],
 "demo": ["Are you a demo model?", "Is this just a test?", "Is this a demo model?", "Are you the small demo?"],
}
MORE_CHAT = {
 "hello": ["hello there!", "Hi Potluck", "Hello Potluck!", "Hey!", "hi hi", "Good afternoon", "Good afternoon!", "Hello, how nice to meet you!", "Nice to meet you.", "Hi, my name is Anna.", "Hello, I am Tom.", "Howdy", "Hiya", "Good morning, Potluck!", "Hello again!", "Hallo", "Morning!", "A very good day to you!"],
 "how_are": ["How are you doing?", "How do you feel?", "How have you been?", "Are you okay?", "How is your day?", "Is everything fine with you?"],
 "thanks": ["Thank you very much", "Many thanks!", "Thanks for the story.", "Thank you for your help.", "Lovely story, thank you.", "That was nice.", "That is great, thanks.", "I loved it.", "Very good.", "That was beautiful.", "Thanks, that helped me."],
 "bye": ["Good bye", "See you", "See you soon!", "Until tomorrow!", "I am leaving now.", "bye", "Good night, Potluck.", "Farewell!", "So long!"],
 "joke": ["Another joke please", "joke", "Tell me something that makes me laugh.", "Give me a joke.", "I want to hear a joke.", "Can you be funny?"],
 "feel_sad": ["I feel sad.", "I am lonely.", "I am so sad today.", "I feel down.", "I cried today.", "I am afraid.", "My day was bad."],
 "feel_good": ["I am very happy today.", "Today is a good day.", "I feel good.", "I am in a good mood.", "Everything is wonderful today!"],
 "compliment": ["You are nice.", "You are wonderful.", "I love you.", "You are so smart.", "Very well done!", "Amazing!", "What a clever little model!"],
 "insult": ["You are dumb.", "That is wrong.", "You are not very good.", "I hate you.", "That makes no sense.", "This is nonsense.", "That was a bad answer."],
 "ok": ["OK.", "Fine.", "Good.", "I understand.", "Right.", "Yes!", "No!", "Go on.", "hm", "nothing", "I do not know.", "Let me think."],
 "capital": ["Where is the [Eiffel Tower|Nile|Amazon|Sahara]?", "What is the longest river in the world?", "What is the highest mountain?", "How big is " + "[France|Spain|Japan|Brazil|Canada]?", "Tell me about [Paris|London|New York|Berlin|Rome].", "Which country is the largest?", "Which ocean is the deepest?"],
 "news": ["What's new today?", "What day is it today?", "What time is it now?", "Is it raining outside?", "Who won the election?", "Tell me the news."],
 "science": ["What is [an atom|a molecule|energy|light|sound|heat|a cell|a virus|evolution]?", "Why is [grass green|the sea blue|ice cold|fire hot]?", "How do [birds fly|plants grow|fish breathe|computers work|engines work]?", "How far is the [sun|next star]?", "Explain [gravity|physics|chemistry|biology|evolution] to me.", "What are stars made of?", "How many planets are there?", "Why does it rain?"],
 "code": ["Write a program that prints hello.", "What is [Python|Java|Rust|C++|HTML|SQL]?", "How do I write a loop in [Python|C|Java]?", "Write a function in [Rust|Python|Go].", "Can you program?", "Show me some [Python|Java|Rust] code."],
 "people": ["Who was [Shakespeare|Newton|Cleopatra|Caesar|Beethoven|Gandhi|Columbus|Picasso]?", "Tell me about [Shakespeare|Newton|Cleopatra|Caesar|Beethoven].", "Who is the president?", "Who invented the [car|lamp|computer|radio]?", "When was [Goethe|Newton|Lincoln] born?", "Who wrote [Faust|Dracula|the Odyssey]?"],
 "advice": ["What should I [eat|wear|read|watch|buy|do] today?", "Write a letter to my [boss|bank|landlord].", "Give me a recipe for [soup|bread|cake|pizza].", "Summarize this text.", "How do I learn [to swim|the piano|English]?", "Translate this.", "How can I sleep better?", "Do my homework.", "Which car should I buy?"],
 "meaning": ["Why are we here?", "What is [time|freedom|justice|truth|beauty|evil]?", "Who is right in politics?", "What comes after death?", "Is there life in space?"],
 "poem": ["Write a poem about [love|spring|the sea|a cat].", "Sing me a song.", "Write a song about [rain|summer|a dog].", "Make a picture of [a dog|a house|the sea].", "A poem, please.", "Can you make music?", "Compose some verses for me."],
}

THINGS = dict(receipt="a receipt|a signed receipt", layer="a layer|a model layer", webgpu="WebGPU", webrtc="WebRTC", credits="a credit", token="a token", model="a language model|an AI model",
              swarm="a swarm|a browser swarm", host="a host", volunteer="a volunteer", what_is="Potluck")
FRAMES = ["What is {}?", "What's {}?", "what is {} please", "Explain {}.", "Explain to me what {} is.", "Tell me what {} is.", "What does {} mean?", "What is meant by {}?", "I do not know what {} is.", "Do you know what {} is?",
          "Define {}.", "What exactly is {}?", "And what is {}?", "{}?", "Please explain {}.", "I have heard of {}. What is it?", "What do you mean by {}?", "What is {} for?", "Help me to understand {}.", "Could you explain {}?",
          "What on earth is {}?", "I don't get it, what is {}?", "Tell me more about {}.", "In simple words, what is {}?"]
RULES = [(r"^Can I ", ["Could I ", "May I ", "Am I able to ", "Is it possible to "]), (r"^How do I ", ["How can I ", "How would I ", "Tell me how to ", "What is the way to ", "How could I "]), (r"^How can I ", ["How do I ", "Tell me how I can "]),
         (r"^What is ", ["What's ", "Tell me: what is ", "And what is "]), (r"^What are ", ["Tell me what they are: ", "And what are "]), (r"^Do I have to ", ["Must I ", "Do I need to "]), (r"^Do I need ", ["Must I have ", "Do I really need "]),
         (r"^Why are you ", ["How come you are ", "Why is it that you are ", "Tell me why you are "]), (r"^Does it ", ["Will it ", "Does Potluck ", "Does this "]), (r"^Will it ", ["Does it ", "Will this ", "Is it going to "]),
         (r"^Is it ", ["Is Potluck ", "Is this ", "Is that "]), (r"^Who ", ["Tell me who ", "Please tell me who ", "And who "]), (r"^Explain ", ["Can you explain ", "Please explain "]), (r"^Can you ", ["Are you able to ", "Could you ", "Will you "]),
         (r"^Where ", ["Tell me where ", "And where "]), (r"^I want to ", ["I would like to ", "I'd like to "]), (r"^Tell me ", ["Please tell me ", "Can you tell me "])]


def plain(q): return re.sub(r"[^a-z0-9 ]", "", q.lower()).strip()


def table(base, more, concepts):
    """{intent: (training phrasings, held-out phrasings, answers)}. A phrasing that is held out anywhere is in no training list."""
    held = {k: [qs[-1]] + (more[k][-1:] if k in more else []) for k, (qs, _) in base.items()}
    never = {plain(q) for qs in held.values() for q in qs}
    out = {}
    for k, (qs, answers) in base.items():
        seen = list(qs[:-1]) + more.get(k, [])[:-1]
        for thing in concepts.get(k, "").split("|"): seen += [f.format(thing)[0].upper() + f.format(thing)[1:] for f in FRAMES if thing]
        weighted = [(q, 2) for q in seen]
        for q in seen:
            for pattern, others in RULES:
                if re.search(pattern, q): weighted += [(re.sub(pattern, o, q, count=1), 1) for o in others if "[" not in q]
        kept = {}
        for q, n in weighted:
            if plain(q) not in never: kept.setdefault(q, n)
        out[k] = (list(kept), list(kept.values()), held[k], answers)
    return out


POTLUCK, SMALL_TALK = table(QA, MORE, THINGS), table(CHAT, MORE_CHAT, {})
if __name__ == "__main__":
    print({k: len(v[0]) for t in (POTLUCK, SMALL_TALK) for k, v in t.items()}, set(MORE) - set(QA), set(MORE_CHAT) - set(CHAT), set(QA) - set(MORE), set(CHAT) - set(MORE_CHAT))
