/* The special folders (RFC 6154) of new accounts, named as mail programs name them. */
#include "directory/private.h"

/* Bits of Mailbox.special_use, in the order of the names below. */
enum { USE_ARCHIVE = 2, USE_DRAFTS = 4, USE_JUNK = 16, USE_SENT = 32, USE_TRASH = 64 };
static const uint32_t uses[FOLDERS] = {USE_DRAFTS, USE_SENT, USE_JUNK, USE_TRASH, USE_ARCHIVE};

/* clang-format off */
static const struct {
    struct str language;
    struct str names[FOLDERS];
} languages[] = {
#define ROW(language, drafts, sent, junk, trash, archive) \
    {STR_INIT(language), {STR_INIT(drafts), STR_INIT(sent), STR_INIT(junk), STR_INIT(trash), STR_INIT(archive)}},
    ROW("en", "Drafts", "Sent", "Junk", "Trash", "Archive")
    ROW("cs", "Koncepty", "Odeslaná pošta", "Nevyžádaná pošta", "Koš", "Archiv")
    ROW("da", "Kladder", "Sendt", "Spam", "Papirkurv", "Arkiv")
    ROW("de", "Entwürfe", "Gesendet", "Spam", "Papierkorb", "Archiv")
    ROW("el", "Πρόχειρα", "Απεσταλμένα", "Ανεπιθύμητα", "Κάδος", "Αρχείο")
    ROW("es", "Borradores", "Enviados", "Correo no deseado", "Papelera", "Archivo")
    ROW("fi", "Luonnokset", "Lähetetyt", "Roskaposti", "Roskakori", "Arkisto")
    ROW("fr", "Brouillons", "Envoyés", "Indésirables", "Corbeille", "Archives")
    ROW("hu", "Piszkozatok", "Elküldött", "Levélszemét", "Kuka", "Archívum")
    ROW("it", "Bozze", "Posta inviata", "Posta indesiderata", "Cestino", "Archivio")
    ROW("ja", "下書き", "送信済み", "迷惑メール", "ごみ箱", "アーカイブ")
    ROW("nb", "Utkast", "Sendt", "Søppelpost", "Papirkurv", "Arkiv")
    ROW("nl", "Concepten", "Verzonden", "Ongewenst", "Prullenbak", "Archief")
    ROW("nn", "Utkast", "Sendt", "Søppelpost", "Papirkorg", "Arkiv")
    ROW("no", "Utkast", "Sendt", "Søppelpost", "Papirkurv", "Arkiv")
    ROW("pl", "Szkice", "Wysłane", "Spam", "Kosz", "Archiwum")
    ROW("pt", "Rascunhos", "Enviados", "Spam", "Lixo", "Arquivo")
    ROW("pt-br", "Rascunhos", "Enviados", "Spam", "Lixeira", "Arquivo")
    ROW("ru", "Черновики", "Отправленные", "Спам", "Корзина", "Архив")
    ROW("sv", "Utkast", "Skickat", "Skräppost", "Papperskorg", "Arkiv")
    ROW("tr", "Taslaklar", "Gönderilenler", "Gereksiz", "Çöp Kutusu", "Arşiv")
    ROW("uk", "Чернетки", "Надіслані", "Спам", "Кошик", "Архів")
    ROW("zh", "草稿", "已发送", "垃圾邮件", "已删除", "归档")
    ROW("zh-tw", "草稿", "寄件備份", "垃圾郵件", "垃圾桶", "封存")
#undef ROW
};
/* clang-format on */

static size_t language_at(struct str tag)
{
    size_t i = 0;
    while (i < ARRAY_LEN(languages) && !str_ieq(languages[i].language, tag))
        i++;
    return i;
}

static bool is_alpha(uint8_t c)
{
    return byte_is_alpha(c);
}

/* A tag of RFC 5646, or a locale's name: two letters of language, perhaps two of region; what else
 * there is does not matter. */
struct err dir_language(struct str asked, struct str *out)
{
    struct cur c = cur_of(asked);
    struct str language = cur_take_while(&c, is_alpha);
    bool more = cur_accept(&c, '-') || cur_accept(&c, '_');
    struct str region = cur_take_while(&c, is_alpha);
    uint8_t tag[] = {0, 0, '-', 0, 0};
    size_t at = ARRAY_LEN(languages);
    if (language.n == 2 && more && region.n == 2) {
        str_copy_to(tag, language);
        str_copy_to(tag + 3, region);
        at = language_at(str_of(tag, sizeof tag));
    }
    if (at == ARRAY_LEN(languages))
        at = language_at(language);
    if (at == ARRAY_LEN(languages))
        return err_make(E_INVALID,
                        "there are no names of folders in this language; there are in cs da de el "
                        "en es fi fr hu it ja nb nl nn no pl pt pt-br ru sv tr uk zh zh-tw");
    *out = languages[at].language;
    return OK;
}

void dir_folders(struct str language, struct new_mailbox out[FOLDERS])
{
    size_t at = language_at(language);
    if (at == ARRAY_LEN(languages))
        at = 0;
    for (size_t i = 0; i < FOLDERS; i++)
        out[i] = (struct new_mailbox){languages[at].names[i], uses[i]};
}
