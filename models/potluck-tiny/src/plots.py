"""The plots of the tales. Short, with two who act: {N}, the hero (kind {k}), and the friend ({ag} when met, {g} later). {o} is the thing, {p} the place.

Template language: {slot} is filled from a dict, [a|b|c] picks one, a leading '?' makes a sentence optional. Every opening names all that was asked for.
"""
# The thing belongs to the hero from the start, or is found. `{friend}` is a sentence about the friend where one was asked for, else nothing.
OPEN_OWN = ["Once there was {ak} named {N} who had {ao}. {He} lived {p}. {friend}", "Once upon a time, {ak} named {N} lived {p}. {He} had {ao}. {friend}",
            "{N} was {ak} who lived {p}. More than anything, {he} loved {his} {o}. {friend}", "Once upon a time, there was {ak} named {N}. {He} lived {p} and had {ao}. {friend}"]
OPEN_FIND = ["Once upon a time, {ak} named {N} lived {p}. {friend} One day, {N} found {ao}.", "Once there was {ak} named {N} who lived {p}. {friend} One morning, {he} found {ao}.",
             "{N} was {ak} who lived {p}. {friend} One day, {he} saw {ao} [on the path|under a tree|by the door]."]
FRIEND = ["{His} best friend was {ag}.", "{N} and {ag} were best friends.", "{He} had a friend, {ag}."]

OWN = {
 "lost": ["One day, the {o} was gone. {N} looked [high and low|in every corner], but {he} could not find it.", "{meet} \"[Do not cry|Do not worry],\" said {g}. \"[I will help you look.|We will find it.]\"",
          "[They looked under the bed and behind the door.|They asked everyone they met.]", "At last, {g} saw the {o} [behind an old wall|in a hollow log|under some leaves].",
          "\"Thank you!\" said {N}. [\"I could not have found it alone.\"|{He} held the {o} tight and smiled.]"],
 "broken": ["But one day, the {o} [broke|cracked in two]. \"Oh no!\" cried {N}. \"[I cannot fix it alone.|What will I do now?]\"", "{meet} \"I have {tool},\" said {g}. \"[Let us try|Let me help you].\"",
            "[All afternoon they worked side by side.|{N} held the pieces, and {g} fixed them.]", "By sunset, the {o} was [as good as new|whole again].",
            "{N} [danced with joy|laughed out loud]. \"[We made it together,|Two can do what one cannot,]\" said {N}."],
 "storm": ["One night, a great storm came. [Rain beat on the roof.|The wind shook the trees.] Then {N} heard a knock at the door.", "{meet_door} \"[I am cold and wet|I have nowhere to sleep],\" said {g}. \"Please come in,\" said {N}.",
           "They [sat by the fire|shared some {food}], and {N} showed {g} the {o}.", "\"[What a wonderful {o}|I have never seen such a {o}],\" said {g}. [They sang until the rain stopped.|They talked all night.]",
           "In the morning, the sun was out. [They played outside all day.|{N} was glad that {he} had opened the door.]"],
 "dark": ["One evening, {N} stayed out too late. [The sun went down|Night fell], and {he} could not find the way home. All {he} had was {his} {o}.", "{meet} \"[I know the way|I can take you home],\" said {g}. \"[Follow me.|Come with me.]\"",
          "They walked side by side, and {N} held the {o} [tight|close].", "Soon {N} saw a light in the window. [{He} was home!|Home at last!]", "{N} gave {g} some {food}. \"[With you I was not afraid,|You are a good friend,]\" said {N}."],
 "meal": ["One cold day, {N} was hungry. {He} had only the {o} and some {food}.", "{meet} \"I have some {food2},\" said {g}. \"[Let us share,|Then let us cook together,]\" said {N}.",
          "They put [everything|it all] into a big pot. {N} stirred, and {g} sang. The {o} stood in the middle of the table.", "The smell went far and wide, and soon [everyone|all the neighbors] came to eat.", "There was enough for all. [It was the best meal they had ever had.|\"Everyone brought a little,\" said {N}.]"],
 "stuck": ["One day, {N} was out walking with the {o} when {he} heard a cry for help.", "{stuck} \"[Please help me!|I cannot get out!]\" said {g}.", "{N} pulled and pulled, but it was no use. Then {he} had an idea. {He} used the {o} to [dig a little|push from below].",
           "Pop! Out came {g}, [safe and sound|covered in mud but smiling].", "\"Thank you, {N},\" said {g}. [They laughed and went home together.|From that day on, they were friends.]"],
 "shy": ["{N} could sing lovely songs, but {he} was too shy to sing for others. {He} sang only to {his} {o}.", "{meet} \"[That is beautiful|What a lovely song],\" said {g}. \"Will you sing for everyone?\"", "\"I am too scared,\" said {N}. {He} hid behind the {o}. \"I will stand next to you,\" said {g}.",
         "That night, everyone came. {N} looked at {g}, took a deep breath, and began to sing.", "[Everyone clapped and cheered.|The crowd asked for one more song.] {N} was not scared anymore."],
 "gift": ["It was almost the birthday of {ag}. {N} wanted to give a gift, but {he} had no money.", "{He} looked at the {o}. {He} loved it very much. \"[I will give what I love,|It will make my friend happy,]\" {he} said.",
          "[On the big day|At the party], {g} opened the box. \"[The {o}! Is it for me?|A {o}! It is just what I wanted!]\" said {g}.", "\"[We can share it|It is yours],\" said {N}. They played with the {o} until the stars came out.", "{N} had never been so happy."],
 "garden": ["It had not rained for weeks, and the little garden of {N} was [dying|turning brown].", "{N} sat down next to the {o} and sighed. {meet} \"[I can carry water|I can dig],\" said {g}.", "Every morning they worked together. The {o} stood in the middle of the garden for good luck.",
            "One day, a green leaf came up. Soon there were {food} for everyone.", "\"We grew this together,\" said {N}. [They ate under the evening sky.|And {g} smiled.]"],
 "journey": ["One day, {N} had to bring the {o} to [the king|{his} grandmother], who lived far away. The road was long.", "[Soon {he} came to a wide river.|Soon {he} came to a high hill.] {N} was tired. {meet} \"[I will help you|I know a short way],\" said {g}.",
             "So the two went on together and took turns with the {o}.", "In the evening they arrived. \"How did you do it?\" [a voice asked|everyone asked].", "\"[Not alone|I had a good friend],\" said {N}. And they were both asked to stay for supper."],
 "invent": ["{N} had a big idea. {He} wanted to make the {o} fly. Everyone laughed.", "{meet} {G} did not laugh. \"I have {tool},\" said {g}. \"[Let us try.|It may help.]\"", "The first try went wrong. The second try went wrong too. \"One more time,\" said {g}.",
            "Then the {o} shook, rose into the air, and flew! [They flew over the trees and waved.|Both of them shouted with joy.]", "Now nobody laughed. \"It took two of us,\" said {N}."],
 "noise": ["One night, {N} heard a strange noise. [Tap, tap, tap.|Bump, bump, bump.] {He} could not sleep.", "In the morning, {he} told {ag}. \"[I am not afraid|Let us find out],\" said {g}. That night they waited in the dark.", "[Tap, tap, tap!|There it was again!] And what did they see? It was only a tiny mouse with the {o}!",
           "They laughed and laughed. {N} gave the mouse some {food}.", "After that, {N} was not afraid of noises in the dark."],
}
FIND = {
 "found": ["\"Who lost this {o}?\" {he} asked. It was very pretty, and {he} wanted to keep it. But it was not {his} {o}.", "{meet} {G} looked very sad. \"[I lost my {o}|My {o} is gone],\" said {g}.", "{N} thought for a moment. Then {he} held out the {o}. \"Is this yours?\" {he} asked.",
           "{G} jumped for joy. \"[Thank you for being honest|You are very kind],\" said {g}.", "From that day on, the two were friends. [They used the {o} together.|They met every day.]"],
 "quarrel": ["{meet} \"That {o} is mine!\" said {g}. \"No, I saw it first!\" said {N}.", "They pulled and pulled. [Soon they were not speaking to each other.|They shouted until the birds flew away.]", "Then {N} looked at the {o}. \"We could take turns,\" {he} said. \"One day for you, and one day for me.\"",
             "\"I am sorry,\" said {g}. \"I am sorry too,\" said {N}.", "They found that the {o} was more fun with two."],
 "wish": ["It was a magic {o}. \"You have one wish,\" said a small voice. {N} thought about gold and cake.", "{meet} {G} was [cold and hungry|all alone]. \"What will you wish for?\" asked {g}.", "{N} looked at {g}. \"I wish for a friend,\" said {N}. The {o} [glowed|hummed] softly.",
          "\"[That was easy|I am here],\" said {g}, and smiled. They shared some {food} and sat under the stars.", "{N} kept the {o}, but {he} did not need to wish again."],
 "door": ["When {N} touched the {o}, a small door opened in [a tree|a wall]. Behind it was a bright garden.", "{meet} \"Welcome,\" said {g}. \"[Nobody has come here for a long time.|I have waited for a friend.]\"", "They [ran through the tall grass|ate sweet {food}] and played until evening.",
          "Then {N} had to go home. \"Take the {o},\" said {g}. \"It will always bring you back.\"", "And every day, {N} took the {o} and went to see {g}."],
 "big": ["It was too heavy to lift. {N} pushed and pulled, but the {o} did not move.", "{meet} \"[Let me help|Two are stronger than one],\" said {g}. They pushed together. One, two, three!", "The {o} moved a little, and then a little more. [They sang to keep going.|They did not give up.]",
         "By evening they had brought the {o} home. Everyone came to look.", "\"I did the one half, and {g} did the other,\" said {N}."],
}
# {meet}: the friend comes into the tale; where the friend was named at the start, only that the friend comes.
MEET = ["Then {he} met {ag}.", "Just then, {ag} came by.", "{AG} heard {him} and came."]
MEET_AGAIN = ["Then {g} came by.", "Just then, {g} came.", "{G} heard {him} and came."]
MEET_DOOR = ["It was {ag}.", "Outside stood {ag}."]
MEET_DOOR_AGAIN = ["It was {g}.", "Outside stood {g}."]
STUCK = ["{AG} was stuck in the mud.", "{AG} had fallen into a deep hole."]
STUCK_AGAIN = ["{G} was stuck in the mud.", "{G} had fallen into a deep hole."]

MORALS = ["Many small hands can do a big thing.", "When everyone brings a little, there is plenty for all.", "A kind heart is never alone.", "It is good to ask for help.",
          "Sharing makes a small thing big.", "No one is too small to help.", "Kindness always comes back."]
END = ["And so they lived happily.", "The end.", "From that day on, they were the best of friends.", "And that night, {N} slept with a smile.", ""]
FOODS = "bread soup honey apples berries cheese carrots mushrooms beans potatoes pears nuts tomatoes noodles plums".split()
TOOLS = ["a long rope", "a strong stick", "a pot of glue", "a needle and thread", "a small hammer", "a roll of string"]
MOODS = {  # word: (opening sentences, closing sentences)
 "happy": (["It was a happy day."], ["It was a happy ending for all."]), "sad": (["It was a sad and gray day."], ["It began as a sad day, but it ended with a smile."]),
 "funny": (["{N} wore a funny hat and walked in a funny way."], ["It was so funny that they laughed until it hurt."]),
 "spooky": (["It was a spooky night, and shadows danced."], ["The night did not feel spooky anymore."]), "cozy": (["It was a cozy evening, and a fire was burning."], ["That night {N} felt safe and cozy."]),
 "calm": (["It was a calm and quiet day."], ["Everything was calm again."]), "magical": (["There was something magical in the air."], ["It was a magical day to remember."]),
 "exciting": (["It was going to be an exciting day."], ["What an exciting day it was!"]), "brave": (["{N} wanted to be brave."], ["{N} had been very brave."]),
 "silly": (["It was a silly sort of day."], ["It was a silly ending to a silly day."]), "scary": (["It was a dark and scary night."], ["Nothing seemed scary now."]),
 "bedtime": (["The moon was up, and it was almost bedtime."], ["Then it was bedtime, and {N} fell fast asleep. Good night."]), "warm": (["It was a warm day."], ["{N} felt warm inside."]),
 "mysterious": (["It was a mysterious night."], ["It did not seem so mysterious now."]),
}
OTHER_MOODS = """love Christmas horror winter summer fairy_tale romantic dramatic gentle sweet cute strange dark adventure crazy ghost detective science_fiction
fantasy wild quiet kind nice good great beautiful lovely boring simple clever wonderful educational"""
OTHER_MOODS = [w.replace("_", " ") for w in OTHER_MOODS.split()]
