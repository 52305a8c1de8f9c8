// An SMSC made of the npm package `smpp`. It bridges two accounts, the hotline's and a phone's: what one submits
// is delivered to the other. Says what happens as JSON lines, takes commands as JSON lines.
const smpp = require('smpp');
const bound = { hotline: [], phone: [] };
const plan = { throttle: 0, silent: 0, early: false, receipts: true, refuse: 0, password: 'secret' };
let ids = 1000;

const say = (event) => console.log(JSON.stringify(event));
const header = (udh) => udh && udh.length ? Buffer.concat([Buffer.from([Buffer.concat(udh).length]), ...udh]) : null;
const receiver = (who) => bound[who].filter((b) => b.mode !== 'transmitter').map((b) => b.session)[0];

function deliver(who, options) {
  const session = receiver(who);
  if (!session) return say({ event: 'nobody', who });
  session.deliver_sm(options, (answer) => say({ event: 'answered', who, status: answer.command_status }));
}

function receipt(who, id, stat, to, from) {
  const text = `id:${id} sub:001 dlvrd:001 submit date:2611220500 done date:2611220501 stat:${stat} err:000 text:`;
  deliver(who, { esm_class: 4, source_addr: to, destination_addr: from, short_message: text });
}

function submitted(session, who, pdu) {
  if (plan.throttle > 0) {
    plan.throttle -= 1;
    say({ event: 'throttled' });
    return session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
  }
  const body = pdu.message_payload || pdu.short_message || {};
  const udh = header(body.udh);
  const id = `m${++ids}`;
  say({
    event: 'submitted', who, id, to: pdu.destination_addr, coding: pdu.data_coding, esm: pdu.esm_class,
    text: body.message ? body.message.toString() : '', udh: udh ? udh.toString('hex') : null,
    sar: pdu.sar_total_segments || 0, payload: !!pdu.message_payload, receipts: pdu.registered_delivery,
  });
  if (plan.silent > 0) {
    plan.silent -= 1;
    return;
  }
  const report = () => pdu.registered_delivery && plan.receipts &&
    receipt(who, id, 'DELIVRD', pdu.destination_addr, pdu.source_addr);
  if (plan.early) report();
  session.send(pdu.response({ message_id: id }));
  if (!plan.early) setTimeout(report, 20);
  deliver(who === 'hotline' ? 'phone' : 'hotline', {
    source_addr: pdu.source_addr, source_addr_ton: pdu.source_addr_ton, source_addr_npi: pdu.source_addr_npi,
    destination_addr: pdu.destination_addr, data_coding: pdu.data_coding, esm_class: udh ? 0x40 : 0,
    short_message: udh ? { udh, message: body.message } : body.message,
  });
}

const [port, key, cert] = process.argv.slice(1);
const file = (name) => require('fs').readFileSync(name);
const options = key ? { key: file(key), cert: file(cert) } : {};
const server = smpp.createServer(options, (session) => {
  let mine = null;
  const bind = (mode) => (pdu) => {
    const who = pdu.system_id;
    if (plan.refuse > 0 || !bound[who] || pdu.password !== plan.password) {
      plan.refuse -= 1;
      say({ event: 'refused', who });
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      return session.close();
    }
    mine = { who, mode, session };
    bound[who].push(mine);
    say({ event: 'bound', who, mode, version: pdu.interface_version });
    session.send(pdu.response({ system_id: 'smsc' }));
  };
  session.on('bind_transceiver', bind('transceiver'));
  session.on('bind_transmitter', bind('transmitter'));
  session.on('bind_receiver', bind('receiver'));
  session.on('submit_sm', (pdu) => mine && submitted(session, mine.who, pdu));
  session.on('enquire_link', (pdu) => { say({ event: 'enquired' }); session.send(pdu.response()); });
  session.on('generic_nack', (pdu) => say({ event: 'nacked', status: pdu.command_status }));
  session.on('deliver_sm_resp', (pdu) => say({ event: 'raw_answer', sequence: pdu.sequence_number, status: pdu.command_status }));
  session.on('unbind', (pdu) => { say({ event: 'unbound', who: mine && mine.who }); session.send(pdu.response()); session.close(); });
  session.on('error', () => {});
  session.on('close', () => { if (mine) bound[mine.who] = bound[mine.who].filter((b) => b !== mine); say({ event: 'closed' }); });
});
server.listen(+port || 0, '127.0.0.1', () => say({ event: 'listening', port: server.address().port }));

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  if (command.set) return Object.assign(plan, command.set);
  if (command.deliver) return deliver('hotline', command.deliver);
  if (command.receipt) return receipt('hotline', ...command.receipt);
  if (command.raw) return receiver('hotline').socket.write(Buffer.from(command.raw, 'hex'));
  if (command.drop) return bound.hotline.forEach((b) => b.session.destroy());
}).on('close', () => process.exit(0));
