// Every word that the page itself says, in both languages, and the choice between them. One line is one key with its
// English and its Chinese; `{name}` stands for a value. A test holds that both are there and name the same values.

const WORDS = {
  title: ['Sandbox inbox', '沙箱收件箱'],
  menu: ['Menu', '菜单'],
  theme: ['Theme', '主题'],
  theme_system: ['As the system', '跟随系统'],
  theme_light: ['Light', '浅色'],
  theme_dark: ['Dark', '深色'],
  language: ['Language', '语言'],
  keys: ['Keyboard shortcuts', '键盘快捷键'],
  api_docs: ['API documentation', 'API 文档'],
  change_key: ['Change key', '更换密钥'],
  close: ['Close', '关闭'],
  cancel: ['Cancel', '取消'],
  copy: ['Copy', '复制'],
  copied: ['Copied', '已复制'],
  copy_failed: ['Not copied', '复制失败'],
  loading: ['Loading…', '正在加载…'],
  refresh: ['Refresh', '刷新'],
  unknown: ['unknown', '未知'],

  // The key.
  api_key: ['API key', 'API 密钥'],
  key: ['Key', '密钥'],
  login_about: [
    'The inbox shows the mail that was sent with a test key. Give a key that has the scope messages:read; this tab keeps it until it is closed.',
    '收件箱显示用测试密钥发送的邮件。请输入具有 messages:read 权限的密钥；密钥只保留在此标签页中，关闭后即清除。',
  ],
  open_inbox: ['Open the inbox', '打开收件箱'],
  not_a_key: [
    'This is not a key: it has spaces or other characters that a key cannot have.',
    '这不是有效的密钥：其中含有空格或密钥不允许的字符。',
  ],
  read_only: [
    'This key may only read: it lacks the scope messages:write, so it cannot delete.',
    '此密钥只能读取：缺少 messages:write 权限，因此不能删除。',
  ],

  // What went wrong.
  said: [': {detail}', '：{detail}'],
  unreachable: ['Cannot reach the service.', '无法连接服务。'],
  failed_401: ['The key is not valid{said}.', '密钥无效{said}。'],
  failed_403: ['The key may not do this{said}.', '此密钥无权执行该操作{said}。'],
  failed_404: ['There is no such message in the inbox of this key’s project.', '此密钥所属项目的收件箱中没有这封邮件。'],
  failed_422: ['The service refused the request{said}.', '服务拒绝了请求{said}。'],
  failed_429: ['Too many requests{said}.', '请求过多{said}。'],
  failed_503: ['The service is busy{said}.', '服务繁忙{said}。'],
  failed_other: ['The service answered {status}{said}.', '服务返回 {status}{said}。'],
  trying_again: [' Trying again.', ' 正在重试。'],
  broken: ['The page met a fault: {what}', '页面出现错误：{what}'],

  // The list.
  messages: ['Messages', '邮件列表'],
  search: ['Search', '搜索'],
  search_hint: ['Search address, name, subject or words', '搜索地址、姓名、主题或正文'],
  count: ['Messages: {count}', '{count} 封邮件'],
  count_unread: ['Messages: {count}, unread: {unread}', '{count} 封邮件，{unread} 封未读'],
  read_all: ['All read', '全部已读'],
  clear: ['Clear', '清空'],
  clear_sure: ['Take every message out of this inbox? This cannot be undone.', '要清空此收件箱中的所有邮件吗？此操作无法撤销。'],
  clear_yes: ['Clear the inbox', '清空收件箱'],
  cleared: ['The inbox is empty.', '收件箱已清空。'],
  deleted: ['Deleted.', '已删除。'],
  more: ['Load more', '加载更多'],
  none_yet: ['No mail yet. What a test key sends appears here.', '暂无邮件。用测试密钥发送的邮件会显示在这里。'],
  none_found: ['No mail with “{words}”.', '没有包含“{words}”的邮件。'],
  no_subject: ['(no subject)', '（无主题）'],
  to_whom: ['to {to}', '收件人 {to}'],
  with_attachments: ['with attachments', '有附件'],
  unread: ['unread', '未读'],
  live: ['Live', '实时'],
  away_since: ['No connection since {time}', '自 {time} 起无连接'],
  new_one: ['New message: {subject}', '新邮件：{subject}'],
  new_many: ['{count} new messages', '{count} 封新邮件'],
  nothing: ['Choose a message to read it.', '请选择一封邮件。'],

  // Keys.
  key_next: ['Next message', '下一封'],
  key_previous: ['Previous message', '上一封'],
  key_enter: ['Open the message, go to its subject', '打开邮件并转到主题'],
  key_tabs: ['Parts of the message', '切换邮件的各部分'],
  key_search: ['Search', '搜索'],
  key_delete: ['Delete the message', '删除邮件'],
  key_esc: ['Back to the list, empty the search', '返回列表，清除搜索'],
  key_help: ['This list', '显示此列表'],

  // One message.
  message: ['Message', '邮件'],
  back: ['Back', '返回'],
  delete: ['Delete', '删除'],
  from: ['From', '发件人'],
  to: ['To', '收件人'],
  cc: ['Cc', '抄送'],
  copy_for: ['Copy for', '副本收件人'],
  reply_to: ['Reply to', '回复地址'],
  received: ['Received', '接收时间'],
  message_id: ['Message', '邮件编号'],
  status: ['Status', '状态'],
  template: ['Template', '模板'],
  tags: ['Tags', '标签'],
  metadata: ['Metadata', '元数据'],
  code: ['Code', '验证码'],
  codes: ['Codes in the message', '邮件中的验证码'],
  links: ['Links', '链接'],
  status_scheduled: ['scheduled', '已计划'],
  status_queued: ['queued', '排队中'],
  status_sending: ['sending', '发送中'],
  status_deferred: ['deferred', '已推迟'],
  status_delivered: ['delivered', '已送达'],
  status_bounced: ['bounced', '已退回'],
  status_expired: ['expired', '已过期'],
  status_suppressed: ['suppressed', '已抑制'],
  status_cancelled: ['cancelled', '已取消'],

  // Tabs.
  parts: ['Parts of the message', '邮件的各部分'],
  tab_html: ['HTML', 'HTML'],
  tab_text: ['Text', '纯文本'],
  tab_source: ['Source', '源码'],
  tab_headers: ['Headers', '邮件头'],
  tab_attachments: ['Attachments', '附件'],
  tab_attachments_count: ['Attachments ({count})', '附件（{count}）'],
  tab_events: ['Events', '事件'],
  tab_webhooks: ['Webhooks', 'Webhook'],
  tab_checks: ['Checks', '检查'],

  // HTML.
  frame: ['HTML of the message', '邮件的 HTML'],
  width: ['Width', '宽度'],
  width_full: ['Desktop', '桌面'],
  width_tablet: ['Tablet, 768', '平板，768'],
  width_phone: ['Phone, 375', '手机，375'],
  look: ['Look', '外观'],
  look_light: ['Light', '浅色'],
  look_dark: ['Dark, own styles', '深色，邮件自带样式'],
  look_inverted: ['Dark, inverted', '深色，客户端反色'],
  remote_blocked: ['Remote content is blocked: {count} ({hosts})', '已阻止远程内容：{count} 项（{hosts}）'],
  remote_loaded: ['Remote content is loaded: {count} ({hosts})', '已加载远程内容：{count} 项（{hosts}）'],
  remote_never: ['Never loaded: {count} (scripts, frames, video, sound)', '始终不加载：{count} 项（脚本、框架、视频、音频）'],
  load_remote: ['Load remote content', '加载远程内容'],
  no_html: ['This message has no HTML part.', '此邮件没有 HTML 部分。'],

  // Text, source, attachments.
  no_text: ['This message has no text.', '此邮件没有文本。'],
  show: ['Show', '显示'],
  source_message: ['Whole message', '整封邮件'],
  source_html: ['HTML part', 'HTML 部分'],
  source_cut: ['Only the first {size} are shown; the download has all.', '仅显示前 {size}；下载可得全部内容。'],
  download_eml: ['Download .eml', '下载 .eml'],
  no_attachments: ['This message has no attachments.', '此邮件没有附件。'],
  attachment_unnamed: ['attachment-{number}', '附件-{number}'],
  preview_of: ['Preview of {name}', '{name} 的预览'],

  // Events and attempts.
  events: ['Events', '事件'],
  attempts: ['Delivery attempts', '投递尝试'],
  no_events: ['No events.', '没有事件。'],
  no_attempts: ['No attempts.', '没有投递尝试。'],
  events_others: ['{count} more belong to other recipients of the message.', '另有 {count} 条属于此邮件的其他收件人。'],
  events_unavailable: ['Events and attempts are not available.', '无法获取事件和投递尝试。'],
  list_cut: ['There are more than are shown.', '还有更多未显示。'],
  attempt_number: ['Attempt {number}', '第 {number} 次尝试'],
  suppressed_by: ['{reason}, {scope}, since {since}', '{reason}，{scope}，自 {since}'],
  milliseconds: ['{count} ms', '{count} 毫秒'],
  reply: ['Reply', '应答'],
  host: ['Host', '主机'],
  tls: ['TLS', 'TLS'],
  stage: ['Stage', '阶段'],
  rule: ['Rule', '规则'],
  action: ['Action', '后续动作'],
  transcript: ['SMTP transcript', 'SMTP 会话记录'],

  // Webhook calls.
  webhook_calls: ['Webhook calls', 'Webhook 调用'],
  no_webhooks: ['No endpoint was to be told of this message.', '没有需要通知此邮件的端点。'],
  webhooks_unavailable: ['Webhook calls are not available.', '无法获取 Webhook 调用。'],
  webhooks_why: [
    'This service does not list them by message, or the key may not see them.',
    '此服务不按邮件列出调用，或此密钥无权查看。',
  ],
  webhook_pending: ['pending', '等待中'],
  webhook_succeeded: ['succeeded', '成功'],
  webhook_failed: ['failed', '失败'],
  tries: ['tries: {count}', '尝试次数：{count}'],
  endpoint: ['Endpoint', '端点'],
  answer: ['Answer', '应答'],
  no_answer: ['no answer', '无应答'],
  detail: ['Detail', '详情'],
  next_try: ['Next try', '下次尝试'],
  settled: ['Settled', '完成时间'],
  ids: ['Ids', '编号'],

  // Checks.
  good: ['Good:', '正常：'],
  poor: ['Look at this:', '请注意：'],
  check_size: ['Size and words', '大小与文字'],
  size_source: ['The whole message has {size}.', '整封邮件大小为 {size}。'],
  html_size: ['The HTML part has {size}; Gmail cuts it beyond {most}.', 'HTML 部分为 {size}；Gmail 超过 {most} 会截断。'],
  html_clipped: ['The HTML part has {size}: Gmail cuts it at {most}.', 'HTML 部分为 {size}：Gmail 会在 {most} 处截断。'],
  subject_length: ['The subject has {count} letters.', '主题有 {count} 个字符。'],
  subject_long: ['The subject has {count} letters: many clients cut it.', '主题有 {count} 个字符：许多客户端会截断。'],
  text_present: ['There is a text part.', '有纯文本部分。'],
  text_absent: ['There is no text part; filters and some people want one.', '没有纯文本部分；过滤器和部分读者需要它。'],
  unsubscribe_present: ['There is a List-Unsubscribe header.', '有 List-Unsubscribe 邮件头。'],
  unsubscribe_absent: [
    'There is no List-Unsubscribe header. Bulk mail needs one; a receipt or a code does not.',
    '没有 List-Unsubscribe 邮件头。群发邮件需要；收据或验证码邮件不需要。',
  ],
  images_inline: ['Pictures in the message itself: {count}, {size}.', '邮件自带图片：{count} 张，{size}。'],
  preheader: ['In a list of mail it reads:', '在邮件列表中显示为：'],
  preheader_none: ['(no words)', '（无文字）'],
  check_html: ['Support of mail clients', '邮件客户端支持'],
  html_plain: ['Nothing was found that clients support poorly.', '未发现客户端支持不佳的内容。'],
  html_score: ['{score} % of what this mail uses is supported.', '此邮件所用特性的支持度为 {score} %。'],
  html_source_of: [
    'After caniemail.com, June 2026; for QQ and 163, what their filters are known to take out. Parts for Outlook alone are left out.',
    '依据 caniemail.com（2026 年 6 月）；QQ 与 163 依据其过滤器已知会移除的内容。仅供 Outlook 的条件注释部分不计入。',
  ],
  support_n: ['Not supported', '不支持'],
  support_p: ['In part', '部分支持'],
  support_y: ['Supported', '支持'],
  support_u: ['Unknown', '未知'],
  line: ['line {line}', '第 {line} 行'],
  places: ['Places: {count}', '位置：{count} 处'],
  check_links: ['Links and pictures', '链接与图片'],
  no_links: ['There are no links and no pictures.', '没有链接和图片。'],
  links_good: ['{count} found; nothing is wrong with them by their looks.', '共 {count} 个，从形式上看均无问题。'],
  links_poor: ['{count} found; look at {poor} of them.', '共 {count} 个，其中 {poor} 个请注意。'],
  links_local: ['Judged by their text alone; none was asked for.', '仅依据文本判断，未发出任何请求。'],
  kind_link: ['link', '链接'],
  kind_image: ['picture', '图片'],
  kind_text: ['in text', '文本中'],
  fault_none: ['no fault found', '未发现问题'],
  fault_empty: ['leads nowhere', '没有目标'],
  fault_script: ['runs a script: clients take it out', '执行脚本：客户端会移除'],
  fault_data: ['carries its page in itself: clients take it out', '内嵌页面数据：客户端会移除'],
  fault_no_tls: ['not encrypted (http)', '未加密（http）'],
  fault_no_scheme: ['without https: not every client knows what to do', '缺少 https：部分客户端无法处理'],
  fault_relative: ['relative: there is no page that it could be relative to', '相对地址：邮件中没有可参照的页面'],
  fault_malformed: ['is not an address', '不是有效地址'],
  fault_local: ['leads to a computer or network of one’s own', '指向本机或内部网络'],
  fault_number: ['has a number for a host: filters dislike it', '主机为 IP 地址：容易被过滤'],
  fault_scheme: ['is neither http nor https', '既不是 http 也不是 https'],
  fault_no_target: ['the place that it leads to is not in the mail', '邮件中没有其指向的位置'],
  fault_other_domain: ['its words name another domain than it leads to', '显示的域名与实际指向不同'],
  fault_no_words: ['has no words', '没有文字'],
  fault_no_alt: ['has no alt text', '缺少 alt 文本'],
  fault_pixel: ['is a pixel, as trackers use', '是像素图片，常用于跟踪'],
  check_spam: ['Spam filter', '垃圾邮件过滤器'],
  spam_about: [
    'Gives the message to the spam filter that the service is set up with. Nothing is asked before the button is pressed.',
    '将此邮件交给服务所配置的垃圾邮件过滤器检查。按下按钮之前不会发出任何请求。',
  ],
  spam_run: ['Ask the spam filter', '检查垃圾邮件评分'],
  spam_yes: ['{engine} takes it for spam: {score}, of {threshold} allowed.', '{engine} 判定为垃圾邮件：{score} 分，阈值 {threshold}。'],
  spam_no: ['{engine} takes it for good: {score}, of {threshold} allowed.', '{engine} 判定为正常：{score} 分，阈值 {threshold}。'],
  spam_no_rules: ['No rule matched.', '没有命中规则。'],
  spam_unavailable: ['This service has no spam check, or the message is gone.', '此服务没有垃圾邮件检查，或邮件已不存在。'],
};

export const LANGUAGE = 'mailwright.language';
const LANGUAGES = ['en', 'zh-CN'];

// What was chosen here, or else what the browser wishes.
function chosen() {
  let kept = null;
  try { kept = localStorage.getItem(LANGUAGE); } catch { /* Nothing is kept then. */ }
  if (LANGUAGES.includes(kept)) return kept;
  return /^zh\b/i.test(navigator.language ?? '') ? 'zh-CN' : 'en';
}

export const language = chosen();
const column = LANGUAGES.indexOf(language);

export function t(key, values = {}) {
  const words = WORDS[key]?.[column];
  if (words === undefined) return key;
  return words.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? ''));
}

// Puts the words into a document that names them.
export function fill(page) {
  page.documentElement.lang = language;
  for (const found of page.querySelectorAll('[data-word]')) found.textContent = t(found.dataset.word);
  for (const [data, attribute] of [['label', 'aria-label'], ['placeholder', 'placeholder'], ['title', 'title']]) {
    for (const found of page.querySelectorAll(`[data-${data}]`)) found.setAttribute(attribute, t(found.dataset[data]));
  }
}
