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

## The answer

question-heading = 问题
answer-heading = 回答
go-on-button = 继续
tokens = { $tokens } 个词元
answer-looking = 正在寻找持有每一层的电脑。
answer-lost-link = 连接中断。问题会等到连接恢复。
answer-connecting = 正在连接。
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

## What this computer has done

contribution-title = 这台电脑算了多少
contribution-sum = { $credit } GMAC，{ $receipts } 张收据，最近 { $range } 天中的 { $days } 天。
contribution-days = 逐日明细
contribution-key = 它在这里的名字是 { $name }；公钥为
column-day = 日期（UTC）

## Rooms

room-title = 自己的房间
room-what = 房间是一个只属于持有链接者的群：成员只为彼此计算，陌生人看不到所问的内容。
room-make-button = 建一个房间
room-make-hint = 它会在这个标签页中打开，代替公共的群。这里正在进行的一切会结束。
room-in-title = 您在一个房间里
room-in-what = 只有持有此链接的人在里面。他们能读到自己所计算的内容，所以只把它交给您信任的人。
room-link = 房间的链接
room-copy-button = 复制
room-qr = 供手机摄像头扫描的链接图案
room-leave-button = 离开房间
room-unreadable = 此页面地址中的邀请不完整，因此这里是公共的群。什么都没有开始。请重新索要链接，并完整打开。

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
