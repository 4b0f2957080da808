"""The words that stories are asked for, far more than a story needs, so that the model learns to copy a request and not to remember it.

Everything here was written for this generator. `Words` deals ingredients; one word in eight of every list is held out: it never appears in training.
"""
import zlib

ANIMALS = """fox owl bear rabbit mouse hedgehog squirrel deer wolf badger otter beaver frog turtle duck goose swan cat dog puppy kitten horse pony donkey goat
sheep lamb pig lion tiger elephant giraffe zebra monkey panda koala kangaroo penguin seal whale dolphin crab octopus snail bee butterfly ant spider cricket
ladybug firefly mole bat crow raven robin sparrow parrot peacock eagle camel crocodile dragon unicorn robot ghost giant fairy troll snowman dinosaur lizard
snake worm moose raccoon hamster llama heron stork crane pelican flamingo ostrich emu turkey pigeon dove seagull puffin magpie woodpecker hummingbird
kingfisher cuckoo falcon hawk vulture swallow lark finch wren nightingale salmon trout shark jellyfish starfish seahorse lobster shrimp squid walrus
manatee narwhal hippo rhino buffalo bison yak antelope gazelle reindeer elk boar ram mule leopard panther cheetah jaguar lynx cougar hyena jackal coyote
weasel ferret mink skunk possum armadillo anteater sloth lemur gorilla chimpanzee baboon orangutan gecko iguana chameleon tortoise toad newt salamander
alligator cobra python beetle moth dragonfly grasshopper caterpillar wasp mosquito scorpion centipede slug gerbil chipmunk guinea_pig groundhog meerkat
platypus wombat wallaby dingo capybara alpaca bunny piglet calf foal duckling chick owlet cub pup tadpole goblin elf gnome dwarf ogre phoenix griffin
yeti vampire monster alien zombie werewolf pixie genie mammoth triceratops""".split()
PEOPLE = """baker farmer sailor teacher painter pirate gardener doctor carpenter tailor shepherd blacksmith miller musician cook inventor child traveler clown
miner pilot astronaut librarian potter weaver nurse firefighter detective scientist dancer singer juggler magician explorer captain ranger lumberjack
beekeeper cobbler butcher plumber mechanic engineer builder driver dentist vet judge lawyer spy ninja cowboy soldier guard hunter student poet writer
drummer violinist pianist acrobat chef waiter shopkeeper merchant watchmaker jeweler hermit monk nun wanderer stranger neighbor cousin twin baby toddler
programmer superhero cyclist swimmer skier surfer climber photographer reporter""".split()
MALE = "boy king prince wizard fisherman grandfather knight rooster old_man postman father brother uncle son emperor duke stallion milkman".split()
FEMALE = "girl queen princess witch grandmother mermaid hen cow old_woman mother sister aunt daughter empress duchess mare nanny heroine".split()
THINGS = """lantern kite drum teapot clock boat cart bicycle lamp bowl cup vase violin flute guitar music_box toy_train wheel umbrella ladder chair telescope
bucket bell basket toy_boat sled wagon fiddle mirror fishing_net compass toy_robot radio pinwheel jar trumpet puppet camera typewriter raft key map book
letter coin button feather shell stone pebble hat scarf blanket coat mitten boot ribbon rope candle star flower rose seed acorn apple pumpkin pie cake
cookie spoon pot pillow ball balloon crown ring necklace paintbrush pencil picture box bag backpack magnet marble whistle broom shovel hammer needle quilt
sweater lemon carrot potato pear leaf log snowball egg nest diamond gem treasure_chest magic_wand flag mug sandwich ticket bottle horn cloak diary doll
teddy_bear kettle sock toaster accordion pancake rocket skateboard dinosaur_bone banana peach muffin waffle jacket sandal slipper notebook calendar
newspaper stamp poster painting statue fence gate window door tent engine scooter harp banjo tambourine saxophone whisk fork plate napkin tablecloth
pitcher barrel crate suitcase wallet glove belt bracelet earring brooch sword shield helmet arrow bow spear banner parcel present lollipop cupcake pretzel
walnut chestnut mushroom tulip daisy sunflower cactus icicle phone battery magnifying_glass snow_globe jigsaw computer laptop keyboard hourglass sundial
anchor paddle oar sail fishing_rod hook rake pitchfork wheelbarrow watering_can plow axe saw drill wrench screwdriver nail screw pulley lever spring gear
piano cello clarinet tuba xylophone harmonica bagpipe gong cymbal microphone record headphone television fridge oven stove frying_pan pan ladle rolling_pin
sieve tray cupboard drawer shelf wardrobe dresser bed couch sofa stool bench table desk carpet rug curtain cushion mattress towel soap sponge toothbrush
comb hairbrush shampoo bathtub bubble tiara cape mask wig bow_tie tie shirt dress skirt apron pajama raincoat shoe sneaker skate snowboard ski surfboard
kayak canoe submarine airplane helicopter truck tractor bus taxi motorcycle train carriage saddle bridle horseshoe whip lasso net cage birdhouse kennel
bone fish_bowl leash collar feather_duster dustpan mop bandage pill thermometer stethoscope syringe crutch crayon chalk eraser ruler scissors glue paint
easel canvas ink quill scroll globe atlas dictionary comic_book postcard envelope passport coupon medal trophy ribbon_box dice chess_set puzzle card
yo-yo top slingshot boomerang frisbee trampoline swing slide seesaw sandcastle kite_string firework sparkler torch match campfire marshmallow popcorn
pizza burger taco noodle dumpling burrito croissant bagel donut ice_cream milkshake lemonade cocoa teacup thermos honeypot jam pickle onion tomato cabbage
broccoli turnip radish pepper garlic pineapple mango grape cherry strawberry blueberry raspberry watermelon coconut fig olive almond peanut cloud rainbow
raindrop snowflake shadow dream song secret riddle wish spell potion crystal_ball flying_carpet magic_bean golden_egg silver_spoon red_balloon
wooden_spoon glass_slipper time_machine spaceship meteor comet moonbeam fossil pearl emerald ruby sapphire amulet locket goblet chalice""".split()
PLACES = [("in", x) for x in """forest meadow village valley castle garden desert jungle city orchard cave swamp library barn park canyon town palace workshop
kitchen museum attic greenhouse vineyard marsh grove treehouse theater stable school bakery cottage tower snowy_forest bamboo_forest big_city quiet_town
old_mill basement cellar classroom hospital office factory church temple monastery igloo tent hotel restaurant cafe bookshop toy_shop supermarket garage
attic_room bedroom bathroom tunnel mine dungeon maze labyrinth rainforest savanna wilderness countryside suburb alley courtyard backyard cornfield
wheat_field rice_field pine_wood dark_wood enchanted_forest haunted_house ruined_castle sky clouds volcano crater gorge oasis lagoon coral_reef aquarium
planetarium observatory laboratory spaceship submarine train""".split()]
PLACES += [("on", x) for x in """island mountain hill farm beach ship bridge moon cliff riverbank prairie snowy_mountain glacier hillside roof balcony boat ranch
plateau peninsula pier dock stage hilltop mountaintop planet space_station iceberg sandbank highway rooftop""".split()]
PLACES += [("by", x) for x in "river lake sea pond waterfall lighthouse stream well ocean harbor bay canal dam fountain campfire creek fjord shore brook".split()]
PLACES += [("at", x) for x in "market inn playground train_station fair circus zoo airport bus_stop carnival festival wedding birthday_party crossroads gate stadium".split()]
NAMED_PLACES = """Paris London Rome Tokyo Berlin Madrid Vienna Oslo Cairo Boston Chicago Texas Africa India China Japan France Spain Italy Norway Iceland Greenland
Egypt Brazil Peru Mexico Canada Alaska Hawaii Scotland Ireland Venice Prague Lisbon Athens Moscow Sydney Dublin Zurich Geneva Hamburg Munich Warsaw
Stockholm Helsinki Nairobi Mumbai Delhi Seoul Toronto Denver Seattle Florida Kansas Nevada Tibet Nepal Greece Turkey Cuba Chile Kenya""".split()
F = """Mia Lila Rosa Ella Nora Ruby Luna Ivy Hazel Daisy Poppy Clara Maya Zoe Lucy Anna Bella Tilly Willa Juno Wren Pearl Olive Fern Maple Dora Greta Kiki Lottie
Nina Pia Suki Tess Vera Yara Ada Bea Cora Elsie Flora Emma Olivia Sophia Isabella Charlotte Amelia Emily Grace Chloe Lily Hannah Sarah Laura Julia Maria
Eva Alice Jane Mary Kate Rachel Rebecca Ruth Esther Naomi Leah Sofia Elena Irina Olga Marta Paula Carla Lena Lara Mila Aisha Fatima Amina Leila Yasmin
Priya Anjali Meera Sana Mei Yuki Hana Sakura Keiko Ingrid Astrid Freya Sigrid Helga Heidi Petra Ursula Wendy Penny Betty Peggy Molly Polly Dolly Sally
Nancy Susan Linda Karen Diana Victoria Elizabeth Margaret Catherine Josephine Penelope Aurora Stella Violet Iris Jasmine Rosie Matilda Agnes Edith""".split()
M = """Finn Oliver Max Leo Sam Ben Tom Jack Hugo Otto Theo Milo Felix Oscar Gus Ned Pip Toby Rufus Basil Bruno Cosmo Dexter Eli Fritz Hank Iggy Jasper Kit Lars Moss
Nico Otis Paco Quinn Remy Silas Tuck Walt Ziggy James John Robert Michael David William Richard Joseph Thomas Charles Daniel Matthew Anthony Mark Paul
Steven Andrew Peter George Edward Brian Kevin Jason Ryan Jacob Noah Liam Ethan Lucas Mason Logan Henry Alexander Sebastian Adam Aaron Nathan Simon Philip
Martin Victor Carlos Diego Pablo Miguel Juan Pedro Luis Marco Luca Mateo Ivan Boris Igor Dmitri Omar Ali Hassan Ahmed Yusuf Karim Arjun Ravi Raj Vikram
Kenji Hiro Akira Chen Wei Olaf Sven Erik Bjorn Anders Klaus Hans Jonas Emil Arthur Alfred Albert Ernest Frank Fred Harry Larry Barry Jerry Bob Bill
Billy Tommy Timmy Johnny Danny Charlie Archie Ollie Alfie Buster Rocky Sparky Bingo Biscuit Pickles""".split()
TRAITS = """little small young kind clever brave shy gentle curious cheerful quiet friendly busy lonely sleepy patient hungry careful playful old tiny big huge
tall happy sad grumpy angry funny silly lazy proud polite noisy clumsy talking flying dancing singing magic magical golden silver red blue green yellow
purple pink orange white black brown gray wooden invisible lost broken forgotten secret strange wise foolish greedy generous honest nervous sneaky
fluffy hairy spotted striped muddy shiny rusty dusty colorful enormous giant mysterious royal wild tame rich poor fast slow strong weak""".split()
THEMES = """friendship love courage honesty sharing kindness patience hope trust winter summer spring autumn rain snow thunder Christmas Halloween Easter magic
music dreams adventure bravery luck happiness sadness fear anger jealousy loneliness family school sports football soccer baseball cooking baking
gardening painting dancing space time science computers friends animals dinosaurs dragons robots pirates princesses unicorns cats dogs horses trains
trucks cars airplanes ships fish birds bees butterflies flowers trees mountains stars bedtime breakfast lunch dinner homework holidays birthdays
growing_up being_different telling_the_truth saying_sorry making_friends losing_a_tooth the_sea the_moon the_wind the_sun the_dark the_future""".split()

words = lambda text: [w.replace("_", " ") for w in text]
ANIMALS, PEOPLE, MALE, FEMALE, THINGS, THEMES, TRAITS = map(words, (ANIMALS, PEOPLE, MALE, FEMALE, THINGS, THEMES, TRAITS))
PLACES = [(a, x.replace("_", " ")) for a, x in PLACES]
SEX = {w: "m" for w in MALE} | {w: "f" for w in FEMALE} | {w: "m" for w in M} | {w: "f" for w in F}
HEROES = ANIMALS + PEOPLE + MALE + FEMALE
ALWAYS = set("fox owl robot dragon lantern kite forest moon little brave funny".split())   # a few that must be known


def held_word(word): return word not in ALWAYS and zlib.crc32(("word " + word).encode()) % 8 == 0


def split(pool):
    spelled = lambda x: x if isinstance(x, str) else x[1]
    return [x for x in pool if not held_word(spelled(x))], [x for x in pool if held_word(spelled(x))]


START = "b c d f g h j k l m n p r s t v w z bl br ch cl cr dr fl fr gl gr pl pr qu sc sh sk sl sm sn sp st sw th tr tw wh".split()
MIDDLE = "a e i o u oo ee ai ou ea ar er or".split()
CLOSE = ["", "", "", "n", "m", "r", "l", "p", "x", "t", "d", "g", "s", "sh", "ck", "mb", "nd", "st", "ng", "rt", "lk", "nt"]


def made_up(random):
    """A word that does not exist: what is asked for can only be copied."""
    syllable = lambda: random.choice(START) + random.choice(MIDDLE) + random.choice(CLOSE)
    word = syllable() + (syllable() if random.random() < .75 else "") + random.choice(["", "", "y", "er", "le", "o", "a", "in", "et"])
    return word if len(word) > 3 else made_up(random)
