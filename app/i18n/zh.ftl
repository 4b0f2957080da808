# 页面的中文文字。消息与 en.ftl 相同；只用 app/src/words/fluent.rs 能读的那部分 Fluent：
# 一条消息一行，按数字或词语选择时除外。

## The page and its head

page-title = Potluck：由众人的电脑一起运行的 AI 模型
skip = 跳到正文
lead = 打开这个网页，就能出借自己的电脑；大家的电脑合在一起，运行一个谁都无法独自运行的 AI 模型。
keeper = { $host } 让这些电脑互相认识，并记下每台算了多少。它看不到任何问题和回答。
warning = 其他志愿者能读到他们所计算的内容。请不要在这里写任何秘密。
language = 语言
language-missing = 无法取得该语言的文字：{ $reason }。其他一切都没有丢失；再选一次即可重试。

link-none = 未连接
link-connecting = 正在连接
link-open = 已连接
link-lost = 连接中断（{ $reason }）；{ $wait } 后重试
link-refused = 被拒绝：{ $reason }

## What happens now

now-title = 现在
now-model = 模型
now-model-unknown = 服务器尚未说明。
now-answers = 正在计算
now-answers-value = { $sessions ->
    [0] 目前没有回答
   *[other] { $sessions } 个回答
 }
now-waiting = { $waiting } 个问题在等待电脑
now-computers = 由谁计算
now-computers-value = { $nodes ->
    [0] 还没有电脑
   *[other] { $nodes } 台电脑
 }
now-computers-kinds = 浏览器 { $browsers } 台，本机程序 { $natives } 台
now-unknown = 正在查看。

## Lending: before

lend-title = 出借这台电脑
lending-title = 这台电脑正在出借
offer = 本标签页会下载{ $what }，并为他人计算，直到您按“停止”或关闭页面。它会使用这台电脑的处理器和电力。不会安装任何东西；在您按下之前，什么都不会开始。
offer-some = 模型的若干层
offer-of = { $model } 共 { $layers } 层中的若干层
offer-of-bytes = { $model } 共 { $layers } 层（合计 { $bytes }）中的若干层
insecure = 这个页面不是通过 HTTPS 打开的，所以浏览器不让它使用显卡，也不保存已下载的内容。它用 CPU 计算；改用 https:// 地址打开，两者都能使用。
failed-because = ：{ $reason }
offer-share = 最多占用处理器 { $processor } % 或显卡 { $gpu } % 的时间、{ $memory } 内存、每天 { $data } 流量；再次询问：{ $minutes }。以上都可以在下面更改。
lend-button = 出一份力
pause-button = 休息一下
resume-button = 继续
extend-button = 再给一些时间
stop-button = 停止
agreed = 我同意了什么
agreed-copy = 保存一份
awake = 出借期间保持屏幕常亮
choices = 可以使用什么
choose-backend = 用什么计算
backend-auto = 有显卡就用显卡，否则用 CPU
backend-gpu = 显卡（WebGPU）
backend-cpu = CPU
choose-processor = 占用处理器时间的比例
choose-gpu = 占用显卡时间的比例
choose-memory = 内存上限
choose-data = 每天流量上限
choose-minutes = 再次询问
minutes = { $minutes } 分钟后
minutes-none = 不再询问
choose-days = 我的同意有效
days = { $days } 天
choose-when = 以下情况也计算
choose-hidden = 页面隐藏时
choose-battery = 使用电池时
choose-metered = 网络按流量计费时
choose-phone = 在手机上

## Lending: while it goes on

phase-failed = 失败
phase-idle = 未出借
phase-stopping = 正在停止
phase-starting = 正在启动
phase-waiting = 等待中
phase-fetching = 正在下载
phase-serving = 服务中
phase-retrying = 正在重试
phase-paused = 已暂停
why-stopping = 不再为他人计算；您自己的回答还在写。再按“停止”，它也会结束。
why-starting = 正在查看这台电脑能用什么来计算。
why-waiting = 已经提供。服务器即将告知需要哪些层。
why-fetching = 正在下载模型的一部分；每一部分在使用之前都会校验。
why-serving = { $sessions ->
    [0] 已就绪。现在没有人提问。
   *[other] 正在为 { $sessions } 个问题计算。
 }
why-paused = { $why ->
    [asked] 您正在休息：在您继续之前什么都不计算。
    [hidden] 页面隐藏时什么都不计算。
    [battery] 这台电脑用电池供电时什么都不计算。
    [save-data] 浏览器在节省流量时什么都不计算。
    [metered] 网络按流量计费时什么都不计算。
    [pressure] 这台电脑正忙时什么都不计算。
    [frames] 页面无法流畅显示时什么都不计算。
    [time] 您给出的时间已到。在您再给时间之前什么都不计算。
    [phone] 什么都不计算：这是一部手机，而您没有选择出借手机。
   *[data] 您为今天给出的流量已用完。明天之前什么都不计算。
 }
why-retrying = { $reason }。没有丢失任何东西；{ $wait } 后重试。
lending-link-lost = 与服务器的连接中断（{ $reason }）。正在进行的计算会继续；{ $wait } 后重试。
fetched = 已下载的模型部分
fetched-of = { $here }，共 { $all }
fact-name = 您在这里的名字
fact-backend = 计算方式
fact-layers = 持有
fact-layers-of = （共 { $count } 层）
fact-layers-of-model = { " " }{ $model }
fact-computed = 已计算
fact-computed-since = { " " }个词元（自开始以来）
fact-speed = 速度
fact-speed-each = { " " }个词元每秒；每个 { $ms } ms
fact-used = 已消耗
fact-used-data = ，按计算时间估算；接收 { $received }，发送 { $sent }
fact-credit = 贡献
fact-credit-receipts = { " " }GMAC；自开始以来 { $receipts } 张收据

## Asking

ask-title = 提一个问题
ask-label = 您的问题
ask-button = 提问
cancel-button = 取消
ask-hint = 按 Enter 提问，按 Shift+Enter 换行。每个问题互不相干。
sampling = 回答如何抽取
temperature = 温度
temperature-hint = 0 总是取最可能的词；从 { $least } 到 { $most }，越高越多样。留空：用模型自己的值。
seed = 种子
seed-hint = 同样的问题加同样的种子，得到同样的回答。留空：随机抽取。
seed-wrong = 种子必须是小于 { $limit } 的整数。没有提出任何问题。
temperature-wrong = 温度必须是 0，或 0.05 到 5 之间、最多三位小数的数。没有提出任何问题。

who = 由谁计算
who-label = 回答由谁计算
who-swarm = 大家的电脑
who-ends = 大家的电脑，但首尾几层由这里计算
who-all = 全部由这里计算
who-swarm-hint = 计算最前几层的人会得到您的文字，计算最后几层的人会抽取回答的文字。
who-ends-hint = 没有别人得到您的文字，也没有别人抽取回答的文字。但从别人计算的内容仍可推算出文字，所以请不要在这里写秘密。提问最多会下载一次 { $size } 的权重。
who-all-hint = 您的问题和回答都不会离开这台电脑。提问最多会下载一次 { $size } 的权重。

## The answer

question-heading = 问题
answer-heading = 回答
go-on-button = 继续
tokens = { $tokens } 个词元
answer-looking = 正在寻找持有每一层的电脑。
answer-lost-link = 连接中断。问题会等到连接恢复。
answer-connecting = 正在连接。
answer-fetching = 这台电脑正在为自己的部分做准备：权重已就绪 { $loaded }，共 { $size }。
answer-waiting = ▲ 等待中：{ $model } 的{ $layers }还没有人出借。一有人出借，回答就会自动开始。
answer-kept = ▲ 这个回答写到一半时页面被重新载入。已有的 { $tokens }保存在本标签页中；在您同意之前什么都不会运行。
answer-resuming = ▲ { $reason }。没有丢失任何东西：由别的电脑从这里继续。
answer-computing = 正在计算：目前 { $tokens }。
answer-done = { $end ->
    [length] 到达词元上限，已截断
    [cancelled] 已取消
   *[stop] 完成
 }：{ $tokens }；第一个用了 { $ms } ms。
answer-done-rate = { $end ->
    [length] 到达词元上限，已截断
    [cancelled] 已取消
   *[stop] 完成
 }：{ $tokens }；第一个用了 { $ms } ms，之后每秒 { $rate } 个。
answer-caution = 由 AI 模型计算，可能有错。
answer-all-here = 它没有任何内容离开这台电脑。
answer-by = 依次由谁计算
answer-seed = 种子
answer-again = ，温度 { $temperature }。任何人用它们向这个模型提同样的问题，不论用哪些电脑，都会得到同样的回答。
earlier = 本标签页中更早的问题（{ $count }）
earlier-seed = 种子 { $seed }。
ended-with-tab = 这个回答已随本标签页中的一切一起结束。
ended-refused = 服务器拒绝了本标签页：{ $reason }。
ended-worker = 页面中负责计算的部分停止了。再次提问即可重新启动。
ended-old = 这个页面已过时。请重新载入，然后再提问。

## Everybody who lends

swarm-title = 谁在计算
you = （您）
layers = { $count ->
    [one] 第 { $first } 层
   *[other] 第 { $first } 至 { $last } 层
 }
list = { $before }和{ $last }
list-comma = 、
kind-browser = 浏览器
kind-native = 本机程序
state-serving = 服务中
state-fetching = 下载中
state-waiting = 等待中
state-paused = 已暂停
about-model = { $model }：{ $layers } 层
about-licence = 许可证 { $licence }
out-of-date = 这些信息可能已过时：{ $reason }。每隔几秒会重试。
swarm-region = 谁在出借，出借什么
column-who = 谁
column-layers = 层
column-tokens = 词元
column-ms = 每个 ms
no-layers = 无
nobody-yet = 还没有人出借。来当第一个吧。
looking = 正在看有谁在。

copies-region = 每一层有几份
column-copies = 服务该层的电脑
copies-nobody = ▲ 没有人
sums-computers = 电脑
sums-kinds = ：浏览器 { $browsers } 台，本机程序 { $natives } 台
sums-of-them = 其中
sums-states = { $serving } 台服务中，{ $fetching } 台下载中，{ $waiting } 台等待中
sums-memory = 内存
sums-offered = { " " }（已提供）
sums-computed = 已计算
sums-rate = { " " }个词元经过各自的层；最近每秒 { $rate } 个
names-region = 部分出借者
names-failed = 没有名单：{ $reason }。
names-first = 显示一些名字
names-more = 显示更多名字

## The drawing of the swarm

map-summary = { $nodes ->
    [0] 还没有人出借。
   *[other] { $nodes } 台电脑在出借。
 }{ $missing ->
    [none] 每一层都有人持有。
   *[other] 没有人持有{ $missing }。
 }下面的表格说明谁持有什么。
map-browser = ○ 浏览器
map-native = □ 本机程序
map-working = { " " }刚刚计算过
map-counts = 每一层有几台电脑持有
map-layers = 层
map-answer = 回答
map-you = 您
map-missing = 还没有人
map-room = 请入座
tie-direct = 与您直接相连
tie-relayed = 与您经中继相连

## What this computer has done

contribution-title = 这台电脑算了多少
contribution-sum = { $credit } GMAC，{ $receipts } 张收据，最近 { $range } 天中的 { $days } 天。
contribution-days = 逐日明细
contribution-key = 它在这里的名字是 { $name }；公钥为
column-day = 日期（UTC）

## Rooms

room-title = 自己的房间
room-what = 房间是一个只属于持有链接者的群：成员只为彼此计算，陌生人看不到所问的内容。
room-model = 房间所计算的模型
room-make-button = 建一个房间
room-make-hint = 它会在这个标签页中打开，代替公共的群。这里正在进行的一切会结束。
room-in-title = 您在一个房间里：{ $name }
room-members = 现在连接到这里的有：{ $connected }。
room-in-list = 除了此链接，成员还需要一张通行证，只有建房间的人能给。他们能读到自己所计算的内容。
room-in-what = 只有持有此链接的人在里面。他们能读到自己所计算的内容，所以只把它交给您信任的人。
room-link = 房间的链接
room-copy-button = 复制
room-qr = 供手机摄像头扫描的链接图案
room-leave-button = 离开房间
door-let-in-title = 让别人进来
door-let-in-what = 这里会显示一个口令，请念给一个人听。它只能用一次，十分钟内有效；放人进来之前会先问您。
door-open-button = 显示口令
door-close-button = 关闭
door-code = 请念给一个人听，并留在此页：
door-knocked = { $name }（{ $key }）知道口令，想进来。对方看到的也是这个吗？
door-yes-button = 是，让其进来
door-no-button = 否
door-key = 要列入名单的人的公钥；在名单上保留 30 天
door-admit-button = 列入名单
door-admitted = 把此链接发给对方，它只对该公钥有效
door-come-in-title = 我有口令，或想建一个有名单的房间
door-typed = 房间成员念给您的口令
door-knock-button = 敲门
door-knocking = 正以 { $name }（{ $key }）敲门。正在问那位成员这是不是您。
door-asked = 请稍候……
door-list-what = 在有名单的房间里，只凭链接谁也进不来：您用口令逐个放人进来，或把公钥列入名单。名单由此浏览器保管。
door-list-button = 建一个有名单的房间
door-mistyped-code = 这不是口令。口令是四位数字加四位字母或数字，例如 4821-KQ7M。
door-mistyped-key = 这不是公钥。公钥是 64 位数字和 a 到 f 的字母。
door-let-in = 对方进来了。
door-sent-away = 回答是否：没有人进来。
door-wrong-code = 口令不对，所以没有人进来。要再试，需要新的口令。
door-taken = 这个口令已有人试过。请要一个新的。
door-no-door = 现在没有人用此口令等候。请要一个新的。
door-expired = 十分钟内没有人来。请生成新的口令。
door-left = 对方已离开，没有人进来。请生成新的口令。
door-too-many = 来自您的连接或发往此服务器的口令太多。请稍后再试。
door-not-keeper = 只有建此房间的人才能让别人进来。
room-unreadable = 此页面地址中的邀请不完整，因此这里是公共的群。什么都没有开始。请重新索要链接，并完整打开。

## What is the visitor's own

mine-title = 您在众人之中
mine-what = 取一个名字、加入团队、查看您的收据和名次，并保管您的密钥。打开这里会启动页面中持有密钥的部分；这不会出借任何东西。
mine-open = 打开
mine-close = 收起
mine-no-node = 正在查看这个浏览器持有哪个密钥。
mine-said = 完成：其他人现在能看到了。
mine-refused = 服务器拒绝了：{ $reason }
mine-busy = 什么都没有改变：有一个回答还在写。请取消它或等它写完，然后再试。
mine-no-file = 这不是 Potluck 密钥的备份，或者无法读取。什么都没有改变。请选择当时保存的备份文件。
mine-backed-up = 浏览器把您的密钥保存为 { $name }。谁持有这个文件，谁就是您：请放在只有您能读到的地方。
mine-changed = 这个浏览器现在持有 { $name }（{ $short }）的密钥。出借已停止；再次出借即可用这个密钥继续。

name-title = 您的名字
name-what = 不取名字时，您叫 { $name }（{ $short }）。名字可以重复；后面的字母和数字不会。
name-label = 别人看到的名字
name-hint = 最多 { $letters } 个字，一行。可以收回。
name-use = 使用这个名字
name-back = 收回
name-is = 您现在叫

team-title = 您的团队
team-what = 团队把成员在队期间算的合在一起计。持有链接的人都能加入。
team-label = 新团队的名字
team-make = 建立团队
team-members = { $members ->
    [one] ：只有您一人；{ $credit } GMAC
   *[other] ：{ $members } 名成员；{ $credit } GMAC
 }
team-link = 供别人加入的链接
team-leave = 离开团队
team-leave-hint = 您为它算的仍归它所有。
team-invited = 您受邀加入团队
team-invited-members = { $members ->
    [one] （1 名成员）。
   *[other] （{ $members } 名成员）。
 }
team-join = 加入

receipts-title = 您的收据
receipts-what = 每张收据说明这个密钥算了什么，由它和提问的一方签名。文件中有两方的签名，任何人都能核对。
receipts-empty = 这个密钥还没有收据。
receipts-more = 显示更多
receipts-save = 全部保存为 JSON
column-when = 时间（UTC）
column-model = 模型
column-positions = 位置
column-signed = 签名者

key-title = 您的密钥
key-what = 在这里，密钥就是您的全部：已记的贡献属于它。它只保存在这个浏览器里，清除本站数据时会一起消失。
key-backup = 保存备份
key-backup-first = 先保存备份
key-backup-hint = 谁持有这个文件，谁就是您。
key-file = 使用备份中的密钥
key-found = 文件中是 { $name }（{ $short }）的密钥。
key-found-server = 保存于
key-is-present = 这个浏览器已经在用这个密钥。
key-restore = 使用这个密钥
key-restore-costs = 它会取代现在的密钥。已记在现在密钥上的贡献仍归那个密钥；没有备份就拿不回来。
key-reset = 换一个新密钥
key-reset-costs = 新密钥没有贡献、名字和团队。现在密钥的这些仍归它；没有备份就拿不回来。
key-reset-yes = 重新开始
key-give-up = 保持不变

board-title = 谁算得最多
board-what = 在同类设备之间比较，类别由各台电脑自己说明。
board-class = 设备
board-period = 时间
board-of = 范围
board-days = 周一 { $first } 至周日 { $last }，UTC。
board-empty = 这段时间没有人获得贡献。
column-place = 名次
class-phone = 手机
class-browser = 浏览器，用处理器计算
class-graphics = 浏览器，用显卡计算
class-native = 程序，在电脑和服务器上
period-week = 本周
period-before = 上周
period-all = 全部时间
of-people = 个人
of-teams = 团队

## What everybody has done

tally-title = 谁算了多少
tally-what = 贡献按为他人计算的乘加次数来计，单位 GMAC（1 GMAC 等于 1,000,000,000 次）。它来自收据，计算的一方和提问的一方都在上面签了名。
tally-not-audited = 目前尚未审核：两个串通的人可以为谁都没做过的工作签名。
tally-out-of-date = 这些信息可能已过时：{ $reason }。已记的贡献不会丢失。
tally-region = 谁记了多少贡献
column-credit = 贡献，GMAC
column-receipts = 收据
tally-empty = 还没有人获得贡献。

## Something went wrong

other-tab = 这个浏览器的另一个标签页已经在出借。一个就够了：这个标签页什么都没有启动。
problem-refused = 服务器拒绝了本标签页：{ $reason }。不再出借，也不再提问；已记的贡献是安全的。请重新载入页面，然后再试。
problem-worker = 页面中负责计算的部分停止了：{ $reason }。不再出借；已记的贡献是安全的，未写完的回答已丢失。再按一次刚才的按钮即可重新开始。
problem-old = 这个页面已过时：服务器有了更新的页面，本页要启动的文件已经没有了。什么都没有启动，已记的贡献是安全的。请重新载入页面，然后再试。
newer-page = 服务器上有比这个更新的页面。这里正在运行的会继续；方便时请重新载入。
close-button = 关闭
reload-button = 重新载入
server-silent = 服务器没有应答
server-status = 服务器回答 { $status }
server-broke-off = 服务器的回答中断了
server-unreadable = 无法读懂服务器的回答：{ $reason }

part-coming = 请稍候：此页面的其余部分正在加载。
part-missing = 此页面的其余部分未能加载。
part-again-button = 重试

## The widget, after a yes

widget-lending = 您正在出一份力
widget-resting = 您的电脑在休息
widget-lost = { " " }连接中断，正在重试。
widget-stopped-title = 已停止
widget-stopped = 这里不再计算任何东西，您的同意也已收回。记给您的贡献仍归您所有。
widget-again = 再次出借
widget-failed = 此处无法进行
widget-try-again = 再试一次
widget-what = 内容
widget-what-value = { $model } 的{ $layers }
widget-for = 为谁
widget-for-value = 在 { $host } 提问的人
widget-done = 已完成
widget-done-value = { $tokens }；记给您 { $credit } GMAC
widget-energy = 能量
widget-energy-value = { $hours }，估算值
widget-data = 流量
widget-data-value = 接收 { $received }，发送 { $sent }
